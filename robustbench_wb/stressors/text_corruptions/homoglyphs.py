"""Letters of other scripts that look alike."""

import re
from typing import ClassVar

from robustbench_wb.stressors.text_corruptions.text_corruption import TextCorruption, percentages

# Cyrillic look-alike, then the Greek one if there is one; from Unicode's code charts.
LOOK_ALIKES = {
    "a": "\u0430", "c": "\u0441", "d": "\u0501", "e": "\u0435", "h": "\u04bb", "i": "\u0456", "j": "\u0458",
    "l": "\u04cf", "o": "\u043e\u03bf", "p": "\u0440", "q": "\u051b", "s": "\u0455", "v": "\u03bd", "w": "\u051d",
    "x": "\u0445", "y": "\u0443", "A": "\u0410\u0391", "B": "\u0412\u0392", "C": "\u0421", "E": "\u0415\u0395",
    "H": "\u041d\u0397", "I": "\u0406\u0399", "J": "\u0408", "K": "\u041a\u039a", "M": "\u041c\u039c", "N": "\u039d",
    "O": "\u041e\u039f", "P": "\u0420\u03a1", "Q": "\u051a", "S": "\u0405", "T": "\u0422\u03a4", "W": "\u051c",
    "X": "\u0425\u03a7", "Y": "\u04ae\u03a5", "Z": "\u0396",
}  # fmt: skip


class Homoglyphs(TextCorruption):
    """A Latin letter becomes a Cyrillic or Greek look-alike: people see no difference, tokenizers do.

    Units: letters in ``LOOK_ALIKES``.
    """

    name: ClassVar[str] = "homoglyphs"
    rates = percentages((3, 6, 9, 12, 15))
    pattern = re.compile(f"([{''.join(LOOK_ALIKES)}])")

    def change(self, unit: str, number: int) -> str:
        """A random look-alike of the letter."""
        alike = LOOK_ALIKES[unit]
        return alike[number % len(alike)]
