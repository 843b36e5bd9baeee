"""Confidence intervals for proportions and for means."""

from math import inf, sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit  # scipy.stats, which calls them, takes a second to import


class Interval(NamedTuple):
    """Closed confidence interval."""

    low: float
    high: float

    def within(self, margin: float) -> bool:
        """Whether the whole interval lies inside ``[-margin, margin]``."""
        return -margin <= self.low and self.high <= margin


def wilson(successes: float, n: float, confidence: float = 0.95) -> Interval:
    """Score interval of a proportion. Wilson (1927), J. Am. Stat. Assoc. 22, 209-212.

    Args:
        successes: number of successes, 0 to ``n``.
        n: number of trials, at least 0. Both counts may be fractions: dependent outcomes are worth fewer trials.
        confidence: nominal coverage, above 0 and below 1.

    Returns:
        Interval inside [0, 1]. Low is exactly 0 without successes, high is exactly 1 without failures; (0, 1) without
        trials.

    Raises:
        ValueError: an argument is out of its range.
    """
    if not 0 <= successes <= n or not 0 < confidence < 1:
        raise ValueError(f"wilson({successes}, {n}, {confidence}): arguments out of range")
    if n == 0:
        return Interval(0.0, 1.0)
    z = -float(ndtri((1 - confidence) / 2))
    share = successes / n
    centre = share + z * z / (2 * n)
    reach = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low = 0.0 if successes == 0 else max(0.0, (centre - reach) / scale)
    high = 1.0 if successes == n else min(1.0, (centre + reach) / scale)
    return Interval(low, high)


def mean_interval(values: NDArray[np.floating[Any]], confidence: float = 0.95) -> tuple[float, Interval]:
    """Mean of independent values, like losses or paired differences of losses, and its t interval.

    Student (1908), Biometrika 6, 1-25: mean +- t(n - 1) s / sqrt(n). Exact for normal values, and approximate once the
    mean of n values is close to normal.

    Args:
        values: (n,) finite numbers.
        confidence: nominal coverage, above 0 and below 1.

    Returns:
        The mean (0 without values) and the interval. With fewer than two values the standard deviation is unknown and
        the interval is (-inf, inf).

    Raises:
        ValueError: ``confidence`` is out of range, or a value is not finite.
    """
    samples = np.asarray(values, dtype=np.float64)
    if not np.isfinite(samples).all() or not 0 < confidence < 1:
        raise ValueError(f"mean_interval: values must be finite and confidence {confidence} in (0, 1)")
    mean = float(samples.mean()) if samples.size else 0.0
    if samples.size < 2:
        return mean, Interval(-inf, inf)
    reach = -float(stdtrit(samples.size - 1, (1 - confidence) / 2)) * float(samples.std(ddof=1)) / sqrt(samples.size)
    return mean, Interval(mean - reach, mean + reach)


def detectable_distance(low: float, high: float, alpha: float, power: float = 0.8) -> float:
    """Minimum detectable distance of the true value from a limit, for a one-sided test at level ``alpha``.

    The distance is z(1 - alpha) + z(power) standard errors (Bloom 1995, Evaluation Review 19, 547-556). The half width
    of the 1 - 2 alpha interval is z(1 - alpha) standard errors.

    Args:
        low: low end of the 1 - 2 alpha interval of the estimate.
        high: high end of that interval.
        alpha: level of the test.
        power: probability of rejection at the returned distance.

    Returns:
        The distance in the unit of the interval.
    """
    return (1 + float(ndtri(power) / -ndtri(alpha))) * (high - low) / 2


def bootstrap_interval(values: NDArray[np.floating[Any]], confidence: float = 0.95, draws: int = 2000) -> Interval:
    """Percentile bootstrap interval of a mean, without a distributional assumption.

    Efron (1979), Annals of Statistics 7, 1-26. The seed is fixed and numpy's legacy generator is frozen, so equal
    values give equal intervals. Equal values are resampled together by multinomial counts, because scores have few
    distinct values.

    Args:
        values: (n,) finite numbers, n >= 1.
        confidence: nominal coverage, above 0 and below 1.
        draws: number of bootstrap means, at least 1.

    Raises:
        ValueError: ``values`` is empty or not finite, or an argument is out of range.
    """
    if not len(values) or not np.isfinite(values).all() or not 0 < confidence < 1 or draws < 1:
        raise ValueError(f"bootstrap_interval: {len(values)} finite values, confidence {confidence}, {draws} draws")
    distinct, counts = np.unique(values, return_counts=True)
    drawn = np.random.RandomState(0).multinomial(len(values), counts / len(values), size=draws)
    tail = 50 * (1 - confidence)
    low, high = np.percentile(drawn @ distinct / len(values), [tail, 100 - tail])
    return Interval(float(low), float(high))
