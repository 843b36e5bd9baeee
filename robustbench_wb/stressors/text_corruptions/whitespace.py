"""Spaces dropped between words and added within words."""

import re
from typing import ClassVar

from robustbench_wb.stressors.text_corruptions.text_corruption import WORD, TextCorruption, percentages


class Whitespace(TextCorruption):
    """The spaces after a word are dropped, or one is added within it, each half of the time where both are possible.

    Units: words of at least two characters, or with spaces after them.
    """

    name: ClassVar[str] = "whitespace"
    rates = percentages((6, 12, 18, 24, 30))
    pattern = re.compile(f"({WORD})")

    def admits(self, piece: str) -> bool:
        """Whether the word has a space to drop or room for one: not a single character at the end."""
        return len(piece) > 1

    def change(self, unit: str, number: int) -> str:
        """The word with fewer spaces, or with one more."""
        word = unit.rstrip()
        if len(word) == 1 or (len(word) < len(unit) and number & 1):
            return word
        at = 1 + (number >> 1) % (len(word) - 1)
        return f"{unit[:at]} {unit[at:]}"
