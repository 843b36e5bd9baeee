"""Typing errors: a key beside the one that was meant."""

import re
from typing import ClassVar

from robustbench_wb.stressors.text_corruptions.corruption import TextCorruption, percent

_ROWS = (("qwertyuiop", 0.0), ("asdfghjkl", 0.25), ("zxcvbnm", 0.75))
"""The rows of letters of a QWERTY keyboard, and by how many keys each is shifted to the right."""
_REACH = 0.75
"""Keys of neighbouring rows that are at most this far apart sideways touch."""


def _neighbours() -> dict[str, str]:
    """The letters around each letter, in rows from the top left."""
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
    """A letter becomes one of its neighbours on a QWERTY keyboard, upper case stays upper case.

    Units: letters from a to z.
    """

    name: ClassVar[str] = "keyboard-typos"
    rates = percent(2, 4, 6, 8, 10)
    pattern = re.compile("([A-Za-z])")

    def change(self, unit: str, number: int) -> str:
        """A neighbour."""
        near = NEIGHBOURS[unit.lower()]
        letter = near[number % len(near)]
        return letter if unit.islower() else letter.upper()
