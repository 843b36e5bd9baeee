"""Missing words."""

import re
from typing import ClassVar

from robustbench_wb.stressors.text_corruptions.corruption import WORD, TextCorruption, percent


class WordDrop(TextCorruption):
    """A word is left out with the spaces behind it.

    Units: whatever stands between spaces.
    """

    name: ClassVar[str] = "word-drop"
    rates = percent(8, 16, 24, 32, 40)
    pattern = re.compile(f"({WORD})")

    def change(self, unit: str, number: int) -> str:
        """Nothing."""
        return ""
