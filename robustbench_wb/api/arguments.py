"""Checks of plain arguments that several verbs take: a wrong type is one line that names the parameter."""

import operator

from robustbench_wb.errors import UsageError

SEEDS = 1 << 63
"""Number of seeds."""
COUNTS = 1 << 31
"""Limit of counts: sizes of batches, lengths, numbers of samples."""


def whole_number(name: str, value: object, *, low: int, stop: int = SEEDS) -> int:
    """A whole number from ``low`` to ``stop`` - 1; integers of numpy count, truth values and floats do not.

    Raises:
        UsageError: the value is something else, or out of range.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise UsageError(f"{name} is a whole number, not {value!r}", name) from None
    if not low <= number < stop:
        raise UsageError(f"{name} is from {low} to 2^{stop.bit_length() - 1} - 1, not {number}", name)
    return number
