"""Punctuation marks dropped and added."""

import re
from typing import ClassVar
from unicodedata import category

from robustbench_wb.stressors.text_corruptions.text_corruption import TextCorruption, percentages

MARKS = ".,;:!?"


class Punctuation(TextCorruption):
    """The mark at the end of a word is dropped; a word without a mark gets one.

    Units: everything between spaces.
    """

    name: ClassVar[str] = "punctuation"
    rates = percentages((8, 16, 24, 32, 40))
    pattern = re.compile(r"(\S+)")

    def change(self, unit: str, number: int) -> str:
        """The word with one mark fewer or more."""
        return unit[:-1] if category(unit[-1]).startswith("P") else unit + MARKS[number % len(MARKS)]
