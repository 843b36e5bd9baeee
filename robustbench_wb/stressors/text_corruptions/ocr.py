"""Reading errors: letters and digits that a scan confuses."""

import re
from typing import ClassVar

from robustbench_wb.stressors.text_corruptions.text_corruption import TextCorruption, percentages

_ALIKE = (
    "rn m", "cl d", "vv w", "ii u", "0 O", "0 o", "1 l", "1 I", "l I", "2 Z", "2 z", "5 S", "5 s", "6 b", "6 G",
    "8 B", "9 g", "9 q", "e c", "a o", "f t", "h b", "i l", "n u", "v y", "C G", "E F", "D O", "P R", "U V",
)  # fmt: skip
"""Pairs of look-alikes; each may be read as the other."""


def _confusions() -> dict[str, tuple[str, ...]]:
    """Possible readings of each character or pair, longer ones first: ``rn`` is one unit, not two."""
    found: dict[str, tuple[str, ...]] = {}
    for pair in _ALIKE:
        one, other = pair.split()
        found[one] = (*found.get(one, ()), other)
        found[other] = (*found.get(other, ()), one)
    return dict(sorted(found.items(), key=lambda item: -len(item[0])))


CONFUSIONS = _confusions()


class Ocr(TextCorruption):
    """A character, or two that look like one, is misread: 0 and O, 1 and l, rn and m.

    Units: keys of ``CONFUSIONS``, from left to right.
    """

    name: ClassVar[str] = "ocr"
    rates = percentages((2, 4, 6, 8, 10))
    pattern = re.compile(f"({'|'.join(CONFUSIONS)})")

    def change(self, unit: str, number: int) -> str:
        """A random look-alike of the unit."""
        alike = CONFUSIONS[unit]
        return alike[number % len(alike)]
