"""Neighbouring words in another order."""

import re
from itertools import permutations
from typing import ClassVar

from robustbench_wb.stressors.text_corruptions.text_corruption import WORD, TextCorruption, percentages

_SPACES = re.compile(r"(\s+)")


class WordShuffle(TextCorruption):
    """Three consecutive words get another order; the spaces between them stay.

    Units: windows of three words that are not all equal. Windows start at the first, second or third word, which is
    drawn for each text.
    """

    name: ClassVar[str] = "word-shuffle"
    rates = percentages((10, 20, 30, 40, 50))
    pattern = re.compile(r"((?<!\S)\S++\s++\S++\s++\S++)")
    word: ClassVar = re.compile(WORD)

    def split(self, text: str, number: int) -> list[str]:
        """Split the text into windows; words before the first window go to the piece before it."""
        start = 0
        for _ in range(number % 3):
            found = self.word.search(text, start)
            start = start if found is None else found.end()
        head, *pieces = self.pattern.split(text[start:])
        return [text[:start] + head, *pieces]

    def admits(self, piece: str) -> bool:
        """Whether the words differ: equal words have only one order."""
        return len(set(piece.split())) > 1

    def change(self, unit: str, number: int) -> str:
        """The words in another order, uniformly."""
        one, gap, two, space, three = _SPACES.split(unit)
        given = (one, two, three)
        orders = sorted(set(permutations(given)) - {given})
        first, second, third = orders[number % len(orders)]
        return f"{first}{gap}{second}{space}{third}"
