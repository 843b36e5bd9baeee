"""Axes of figures: ranges that contain the values, with ticks at round numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Final

_ROUND: Final = (1, 2, 5, 10)
_INTERVALS: Final = 5
"""Maximal number of tick intervals, up to rounding of the ends."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """Axis of a figure."""

    label: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    """Values of the ticks, with their labels."""
    log: bool = False
    """Whether the axis is logarithmic."""

    def share(self, value: float) -> float:
        """Position of a value between the ends, in [0, 1]; values outside the range are clipped."""
        low, high, at = (log10(number) if self.log else number for number in (self.low, self.high, self._inside(value)))
        return (at - low) / (high - low)

    def _inside(self, value: float) -> float:
        return min(max(value, self.low), self.high)


def linear_axis(label: str, values: Sequence[float], low: float | None = None, high: float | None = None) -> Axis:
    """Linear axis between round numbers that contain the values.

    Args:
        label: label of the axis, with the unit.
        values: values to contain, at least one.
        low: fixed low end; None takes the smallest value.
        high: fixed high end; None takes the largest value.
    """
    least = min(values) if low is None else low
    most = max(values) if high is None else high
    step = _step((most - least) or abs(most) or 1.0)
    first, last = floor(least / step + 1e-9), ceil(most / step - 1e-9)
    last = max(last, first + 1)
    ticks = tuple((step * at, f"{step * at:.6g}") for at in range(first, last + 1))
    return Axis(label=label, low=ticks[0][0], high=ticks[-1][0], ticks=ticks)


def logarithmic_axis(label: str, values: Sequence[float]) -> Axis:
    """Logarithmic axis with ticks at 1, 2 and 5 times every power of ten, or at powers of ten only if there are many.

    Args:
        label: label of the axis, with the unit.
        values: values to contain, at least one, all above 0.
    """
    least, most = min(values), max(values)
    powers = range(floor(log10(least) - 1e-9), ceil(log10(most) + 1e-9) + 1)
    fine = [factor * 10.0**power for power in powers for factor in _ROUND[:-1]]
    low = max((value for value in fine if value <= least), default=fine[0])
    high = min((value for value in fine if value >= most and value > low), default=fine[-1])
    values_of_ticks = [value for value in fine if low <= value <= high]
    if len(values_of_ticks) > _INTERVALS + 1:
        whole = [10.0**power for power in powers if low <= 10.0**power <= high]
        values_of_ticks = whole or values_of_ticks[:: len(values_of_ticks) - 1]
    ticks = tuple((value, f"{value:g}") for value in values_of_ticks)
    return Axis(label=label, low=low, high=high, ticks=ticks, log=True)


def category_axis(label: str, names: Sequence[str]) -> Axis:
    """Axis with categories at 0, 1, 2, ... and half a step of space at either end."""
    ticks = tuple((float(at), name) for at, name in enumerate(names))
    return Axis(label=label, low=-0.5, high=len(names) - 0.5, ticks=ticks)


def _step(width: float) -> float:
    """Smallest round step that divides the width into at most ``_INTERVALS`` intervals."""
    least = width / _INTERVALS
    power = 10.0 ** floor(log10(least))
    return next(factor * power for factor in _ROUND if factor * power >= least * (1 - 1e-9))
