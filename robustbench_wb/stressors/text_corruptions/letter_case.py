"""Letters in the wrong case."""

import re
from typing import ClassVar

from robustbench_wb.stressors.text_corruptions.text_corruption import LETTER, TextCorruption, percentages


class LetterCase(TextCorruption):
    """A letter changes its case. Tokenizers that lower-case, like those of the built-in tasks, see no change.

    Units: letters that have another case.
    """

    name: ClassVar[str] = "case"
    rates = percentages((2, 4, 6, 8, 10))
    pattern = re.compile(f"({LETTER})")

    def admits(self, piece: str) -> bool:
        """Whether the letter has another case; most scripts have only one."""
        return piece.swapcase() != piece

    def change(self, unit: str, number: int) -> str:
        """The letter in the other case."""
        return unit.swapcase()
