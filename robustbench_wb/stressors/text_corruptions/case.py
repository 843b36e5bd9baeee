"""Upper case for lower case, and the other way round."""

import re
from typing import ClassVar

from robustbench_wb.stressors.text_corruptions.corruption import LETTER, TextCorruption, percent


class Case(TextCorruption):
    """A letter changes its case. To a tokenizer that lower-cases, as those of the tasks do, the text stays as it was.

    Units: letters that have another case.
    """

    name: ClassVar[str] = "case"
    rates = percent(2, 4, 6, 8, 10)
    pattern = re.compile(f"({LETTER})")

    def admits(self, piece: str) -> bool:
        """Most scripts have one case."""
        return piece.swapcase() != piece

    def change(self, unit: str, number: int) -> str:
        """The other case."""
        return unit.swapcase()
