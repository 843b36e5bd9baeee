"""Superfluous letters."""

import re
from string import ascii_lowercase
from typing import ClassVar

from robustbench_wb.stressors.text_corruptions.text_corruption import LETTER, TextCorruption, percentages


class CharacterInsert(TextCorruption):
    """A letter from a to z is inserted after a letter.

    Units: letters of any script.
    """

    name: ClassVar[str] = "character-insert"
    rates = percentages((2, 4, 6, 8, 10))
    pattern = re.compile(f"({LETTER})")

    def change(self, unit: str, number: int) -> str:
        """The letter followed by another one, uniform over the 26 letters."""
        return unit + ascii_lowercase[number % 26]
