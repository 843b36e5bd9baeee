"""Checks of plain arguments that several verbs take: a wrong type is one line that names the parameter."""

import operator

from robustbench_wb.errors import UsageError

SEEDS = 1 << 63
"""Number of seeds."""


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
        limit = f"from {low} to 2^63 - 1" if stop == SEEDS and low == 0 else f"{low} or more"
        raise UsageError(f"{name} is {limit}, not {number}", name)
    return number
