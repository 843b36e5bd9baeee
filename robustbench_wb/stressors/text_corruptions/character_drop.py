"""Missing letters."""

import re
from typing import ClassVar

from robustbench_wb.stressors.text_corruptions.text_corruption import LETTER, TextCorruption, percentages


class CharacterDrop(TextCorruption):
    """A letter is left out.

    Units: letters of any script. Marks that combine with the letter stay.
    """

    name: ClassVar[str] = "character-drop"
    rates = percentages((2, 4, 6, 8, 10))
    pattern = re.compile(f"({LETTER})")

    def change(self, unit: str, number: int) -> str:
        """Empty text: the letter is dropped."""
        return ""
