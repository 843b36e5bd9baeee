"""Words written twice."""

import re
from typing import ClassVar

from robustbench_wb.stressors.text_corruptions.corruption import WORD, TextCorruption, percent


class WordDuplicate(TextCorruption):
    """A word is repeated.

    Units: everything between spaces.
    """

    name: ClassVar[str] = "word-duplicate"
    rates = percent((8, 16, 24, 32, 40))
    pattern = re.compile(f"({WORD})")

    def change(self, unit: str, number: int) -> str:
        """The word twice, separated by a space."""
        return unit + unit if unit[-1].isspace() else f"{unit} {unit}"
