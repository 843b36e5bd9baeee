"""Words in another order, nearby."""

import re
from itertools import permutations
from typing import ClassVar

from robustbench_wb.stressors.text_corruptions.corruption import WORD, TextCorruption, percent

_SPACES = re.compile(r"(\s+)")


class WordShuffle(TextCorruption):
    """Three words in a row are put into another order; the spaces between them stay.

    Units: windows of three words that are not all equal. Windows are counted from the first, second or third word,
    which is drawn for each text.
    """

    name: ClassVar[str] = "word-shuffle"
    rates = percent(10, 20, 30, 40, 50)
    pattern = re.compile(r"((?<!\S)\S++\s++\S++\s++\S++)")
    word: ClassVar = re.compile(WORD)

    def split(self, text: str, number: int) -> list[str]:
        """The first words that are no part of a window go to the piece before it."""
        start = 0
        for _ in range(number % 3):
            found = self.word.search(text, start)
            start = start if found is None else found.end()
        head, *pieces = self.pattern.split(text[start:])
        return [text[:start] + head, *pieces]

    def admits(self, piece: str) -> bool:
        """Equal words have one order."""
        return len(set(piece.split())) > 1

    def change(self, unit: str, number: int) -> str:
        """One of the other orders, each alike likely."""
        one, gap, two, space, three = _SPACES.split(unit)
        given = (one, two, three)
        orders = sorted(set(permutations(given)) - {given})
        first, second, third = orders[number % len(orders)]
        return f"{first}{gap}{second}{space}{third}"
