"""A number that is estimated from samples, with its interval."""

from typing import NamedTuple

from robustbench_wb.stats.intervals import Interval


class Estimate(NamedTuple):
    """Estimate with its 95 % interval."""

    value: float
    interval: Interval
