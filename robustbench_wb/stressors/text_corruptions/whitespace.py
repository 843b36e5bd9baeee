"""Spaces dropped between words and added within."""

import re
from typing import ClassVar

from robustbench_wb.stressors.text_corruptions.corruption import WORD, TextCorruption, percent


class Whitespace(TextCorruption):
    """The spaces behind a word are dropped, or one is added within it: half and half where both can be.

    Units: words of at least two characters, or with spaces behind.
    """

    name: ClassVar[str] = "whitespace"
    rates = percent(6, 12, 18, 24, 30)
    pattern = re.compile(f"({WORD})")

    def admits(self, piece: str) -> bool:
        """A single character at the end has no space to drop, and no place for one."""
        return len(piece) > 1

    def change(self, unit: str, number: int) -> str:
        """Fewer spaces or one more."""
        word = unit.rstrip()
        if len(word) == 1 or (len(word) < len(unit) and number & 1):
            return word
        at = 1 + (number >> 1) % (len(word) - 1)
        return f"{unit[:at]} {unit[at:]}"
