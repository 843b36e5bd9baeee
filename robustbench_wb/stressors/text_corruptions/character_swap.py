"""Two neighbouring letters in the wrong order."""

import re
from re import Pattern
from typing import ClassVar

from robustbench_wb.stressors.text_corruptions.corruption import LETTER, TextCorruption, percent


class CharacterSwap(TextCorruption):
    """Two letters of a word change places.

    Units: pairs of different letters. No letter is in two pairs: pairs are counted from the first letter of the words
    or from the second, which is drawn for each text.
    """

    name: ClassVar[str] = "character-swap"
    rates = percent(5, 10, 15, 20, 25)
    pattern = re.compile(f"({LETTER}{{2}})")
    later: ClassVar[Pattern[str]] = re.compile(f"((?<={LETTER}){LETTER}{{2}})")
    """Leaves out the first letter of every word."""

    def split(self, text: str, number: int) -> list[str]:
        """By one of the patterns."""
        return (self.later if number & 1 else self.pattern).split(text)

    def admits(self, piece: str) -> bool:
        """Equal letters cannot be swapped."""
        return piece[0] != piece[1]

    def change(self, unit: str, number: int) -> str:
        """The other order."""
        return unit[::-1]
