"""Missing words."""

import re
from typing import ClassVar

from robustbench_wb.stressors.text_corruptions.text_corruption import WORD, TextCorruption, percentages


class WordDrop(TextCorruption):
    """A word is left out together with the spaces after it.

    Units: everything between spaces.
    """

    name: ClassVar[str] = "word-drop"
    rates = percentages((8, 16, 24, 32, 40))
    pattern = re.compile(f"({WORD})")

    def change(self, unit: str, number: int) -> str:
        """Empty text: the word is dropped."""
        return ""
