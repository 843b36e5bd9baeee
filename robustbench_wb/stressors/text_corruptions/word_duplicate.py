"""Words written twice."""

import re
from typing import ClassVar

from robustbench_wb.stressors.text_corruptions.text_corruption import WORD, TextCorruption, percentages


class WordDuplicate(TextCorruption):
    """A word is repeated.

    Units: everything between spaces.
    """

    name: ClassVar[str] = "word-duplicate"
    rates = percentages((8, 16, 24, 32, 40))
    pattern = re.compile(f"({WORD})")

    def change(self, unit: str, number: int) -> str:
        """The word twice, separated by a space."""
        return unit + unit if unit[-1].isspace() else f"{unit} {unit}"
