"""Typing errors: a key next to the intended one."""

import re
from typing import ClassVar

from robustbench_wb.stressors.text_corruptions.text_corruption import TextCorruption, percentages

_ROWS = (("qwertyuiop", 0.0), ("asdfghjkl", 0.25), ("zxcvbnm", 0.75))
"""Letter rows of a QWERTY keyboard, and their shift to the right in keys."""
_REACH = 0.75
"""Largest sideways distance, in keys, of touching keys in neighbouring rows."""


def _neighbours() -> dict[str, str]:
    """Letters around each letter, row by row from the top left."""
    keys = [
        (letter, row, at + shift) for row, (letters, shift) in enumerate(_ROWS) for at, letter in enumerate(letters)
    ]
    return {
        letter: "".join(
            other
            for other, there, place in keys
            if (there == row and abs(place - at) == 1) or (abs(there - row) == 1 and abs(place - at) <= _REACH)
        )
        for letter, row, at in keys
    }


NEIGHBOURS = _neighbours()


class KeyboardTypos(TextCorruption):
    """A letter becomes one of its neighbours on a QWERTY keyboard; upper case stays upper case.

    Units: letters from a to z.
    """

    name: ClassVar[str] = "keyboard-typos"
    rates = percentages((2, 4, 6, 8, 10))
    pattern = re.compile("([A-Za-z])")

    def change(self, unit: str, number: int) -> str:
        """A random neighbour of the letter."""
        near = NEIGHBOURS[unit.lower()]
        letter = near[number % len(near)]
        return letter if unit.islower() else letter.upper()
