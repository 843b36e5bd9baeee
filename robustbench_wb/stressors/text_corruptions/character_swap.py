"""Two neighbouring letters in the wrong order."""

import re
from re import Pattern
from typing import ClassVar

from robustbench_wb.stressors.text_corruptions.text_corruption import LETTER, TextCorruption, percentages


class CharacterSwap(TextCorruption):
    """Two neighbouring letters of a word change places.

    Units: pairs of different letters. No letter is in two pairs: pairs start at the first or at the second letter of
    each word, which is drawn for each text.
    """

    name: ClassVar[str] = "character-swap"
    rates = percentages((5, 10, 15, 20, 25))
    pattern = re.compile(f"({LETTER}{{2}})")
    later: ClassVar[Pattern[str]] = re.compile(f"((?<={LETTER}){LETTER}{{2}})")
    """Pattern of pairs that leaves out the first letter of every word."""

    def split(self, text: str, number: int) -> list[str]:
        """Split the text at the pairs that start at the first or at the second letter."""
        return (self.later if number & 1 else self.pattern).split(text)

    def admits(self, piece: str) -> bool:
        """Whether the two letters differ."""
        return piece[0] != piece[1]

    def change(self, unit: str, number: int) -> str:
        """The two letters in the other order."""
        return unit[::-1]
