"""Axes of figures: the range that holds some values, and round numbers on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Final

_ROUND: Final = (1, 2, 5, 10)
_INTERVALS: Final = 5
"""Ticks are at least such a part of the range apart."""


@dataclass(frozen=True)
class Axis:
    """One axis of a figure."""

    label: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    """Values and what is written there."""
    log: bool = False

    def share(self, value: float) -> float:
        """Where a value stands between the ends, in [0, 1]; what lies beyond them stands at them."""
        low, high, at = (log10(number) if self.log else number for number in (self.low, self.high, self._inside(value)))
        return (at - low) / (high - low)

    def _inside(self, value: float) -> float:
        return min(max(value, self.low), self.high)


def linear_axis(label: str, values: Sequence[float], low: float | None = None, high: float | None = None) -> Axis:
    """From a round number below the values (or ``low``) to one above (or ``high``).

    Args:
        label: what it shows, with the unit.
        values: at least one.
        low: a fixed end.
        high: another.
    """
    least = min(values) if low is None else low
    most = max(values) if high is None else high
    step = _step((most - least) or abs(most) or 1.0)
    first, last = floor(least / step + 1e-9), ceil(most / step - 1e-9)
    last = max(last, first + 1)
    ticks = tuple((step * at, f"{step * at:.6g}") for at in range(first, last + 1))
    return Axis(label, ticks[0][0], ticks[-1][0], ticks)


def logarithmic_axis(label: str, values: Sequence[float]) -> Axis:
    """Through values above 0, with a tick at 1, 2 and 5 of every power of ten, or at powers alone."""
    least, most = min(values), max(values)
    powers = range(floor(log10(least) - 1e-9), ceil(log10(most) + 1e-9) + 1)
    fine = [factor * 10.0**power for power in powers for factor in _ROUND[:-1]]
    low = max((value for value in fine if value <= least), default=fine[0])
    high = min((value for value in fine if value >= most and value > low), default=fine[-1])
    category_axis = [value for value in fine if low <= value <= high]
    if len(category_axis) > _INTERVALS + 1:
        category_axis = [10.0**power for power in powers if low <= 10.0**power <= high] or category_axis[
            :: len(category_axis) - 1
        ]
    return Axis(label, low, high, tuple((value, f"{value:g}") for value in category_axis), log=True)


def category_axis(label: str, names: Sequence[str]) -> Axis:
    """Names at 0, 1, 2, ..., with half a step at either end."""
    return Axis(label, -0.5, len(names) - 0.5, tuple((float(at), name) for at, name in enumerate(names)))


def _step(width: float) -> float:
    """A round number, the smallest that is at least such a part of the width."""
    least = width / _INTERVALS
    power = 10.0 ** floor(log10(least))
    return next(factor * power for factor in _ROUND if factor * power >= least * (1 - 1e-9))
