"""Confidence intervals for proportions and for means."""

from math import inf, sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t


class Interval(NamedTuple):
    """A confidence interval; both ends belong to it."""

    low: float
    high: float

    def within(self, margin: float) -> bool:
        """True when the whole interval lies inside ``[-margin, margin]``."""
        return -margin <= self.low and self.high <= margin


def wilson(successes: float, n: float, confidence: float = 0.95) -> Interval:
    """Score interval of a proportion. Wilson (1927), J. Am. Stat. Assoc. 22, 209-212.

    Args:
        successes: number of successes, 0 to ``n``.
        n: number of trials; with none, nothing is known and the interval is (0, 1). Neither need be whole: dependent
            outcomes are worth fewer trials.
        confidence: coverage aimed at, above 0 and below 1.

    Returns:
        The interval, inside [0, 1]; low is exactly 0 without successes, high is 1 without failures.

    Raises:
        ValueError: an argument is out of its range.
    """
    if not 0 <= successes <= n or not 0 < confidence < 1:
        raise ValueError(f"wilson({successes}, {n}, {confidence}): arguments out of range")
    if n == 0:
        return Interval(0.0, 1.0)
    z = float(norm.isf((1 - confidence) / 2))
    share = successes / n
    centre = share + z * z / (2 * n)
    reach = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low = 0.0 if successes == 0 else max(0.0, (centre - reach) / scale)
    high = 1.0 if successes == n else min(1.0, (centre + reach) / scale)
    return Interval(low, high)


def mean_interval(values: NDArray[np.floating[Any]], confidence: float = 0.95) -> tuple[float, Interval]:
    """Mean of independent values, like losses or paired differences of losses, and its t interval.

    Student (1908), Biometrika 6, 1-25: mean +- t(n - 1) s / sqrt(n). Exact for normal values; otherwise good once the
    mean of n values is close to normal.

    Args:
        values: (n,) finite numbers.
        confidence: coverage aimed at, above 0 and below 1.

    Returns:
        The mean (0 without values) and the interval; one value alone tells nothing of the scatter, so that the interval
        is (-inf, inf).

    Raises:
        ValueError: ``confidence`` is out of range, or a value is not finite.
    """
    samples = np.asarray(values, dtype=np.float64)
    if not np.isfinite(samples).all() or not 0 < confidence < 1:
        raise ValueError(f"mean_interval: values must be finite and confidence {confidence} in (0, 1)")
    mean = float(samples.mean()) if samples.size else 0.0
    if samples.size < 2:
        return mean, Interval(-inf, inf)
    reach = float(t.isf((1 - confidence) / 2, samples.size - 1)) * float(samples.std(ddof=1)) / sqrt(samples.size)
    return mean, Interval(mean - reach, mean + reach)


def detectable_distance(low: float, high: float, alpha: float, power: float = 0.8) -> float:
    """How far from a limit the truth must be for a one-sided test at ``alpha`` to show it with this power.

    z(1 - alpha) + z(power) standard errors (Bloom 1995, Evaluation Review 19, 547-556), z(1 - alpha) of which are half
    of the 1 - 2 alpha interval from ``low`` to ``high``.
    """
    return (1 + float(norm.ppf(power) / norm.isf(alpha))) * (high - low) / 2


def bootstrap_interval(values: NDArray[np.floating[Any]], confidence: float = 0.95, draws: int = 2000) -> Interval:
    """Percentile interval of a mean (Efron 1979, Annals of Statistics 7, 1-26): no form of the values is assumed.

    Samples are drawn with replacement by a fixed stream of numpy's frozen generator, so that the same values give the
    same interval. Equal values are drawn together, by multinomial counts: a score has few different ones.

    Args:
        values: (n,) finite numbers, n >= 1.
        confidence: coverage aimed at, above 0 and below 1.
        draws: how many means are drawn.

    Raises:
        ValueError: there are no values, or an argument is out of range.
    """
    if not len(values) or not np.isfinite(values).all() or not 0 < confidence < 1 or draws < 1:
        raise ValueError(f"bootstrap_interval: {len(values)} finite values, confidence {confidence}, {draws} draws")
    distinct, counts = np.unique(values, return_counts=True)
    drawn = np.random.RandomState(0).multinomial(len(values), counts / len(values), size=draws)
    tail = 50 * (1 - confidence)
    low, high = np.percentile(drawn @ distinct / len(values), [tail, 100 - tail])
    return Interval(float(low), float(high))
