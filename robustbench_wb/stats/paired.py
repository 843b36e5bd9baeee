"""Paired tests, their power, and the correction for many cells."""

from collections.abc import Sequence
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, binomtest, t


def mcnemar(lost: int, gained: int) -> float:
    """Exact two-sided p-value of McNemar's test: are losses and gains equally likely?

    Given the number of samples that changed side, losses are binomial with probability one half (McNemar
    1947, Psychometrika 12, 153-157). No change at all gives 1; 0 against 4 gives 0.125.

    Raises:
        ValueError: a count is negative.
    """
    if lost < 0 or gained < 0:
        raise ValueError(f"counts must not be negative: {lost}, {gained}")
    if lost + gained == 0:
        return 1.0
    return float(binomtest(lost, lost + gained, 0.5).pvalue)


def paired_t(differences: NDArray[np.floating[Any]]) -> float:
    """Two-sided p-value of the paired t-test: is the mean difference 0? Student (1908), Biometrika 6, 1-25.

    Not Wilcoxon's signed ranks: they test whether the differences are symmetric around 0, and can call a skewed set
    significant against the sign of its mean. A perplexity is a mean, and so is what its change must be judged by; at
    95 %, the test says yes exactly when :func:`robustbench_wb.stats.intervals.mean_interval` leaves out 0. It needs the
    *mean* to be close to normal, not the differences (Lumley et al. 2002, Annual Review of Public Health 23, 151-169),
    and a loss per chunk is itself a mean over many tokens.

    Args:
        differences: (n,) finite paired differences, one per independent sample.

    Returns:
        The p-value; 1 for fewer than two differences or when all are 0, 0 when all are equal and not 0.
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.size < 2:
        return 1.0
    mean, error = abs(float(values.mean())), float(values.std(ddof=1)) / sqrt(values.size)
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * t.sf(mean / error, values.size - 1))


def detectable_shift(differences: NDArray[np.floating[Any]], alpha: float = 0.05, wanted: float = 0.8) -> float | None:
    """Smallest true mean, in absolute value, that the paired t-test at level ``alpha`` finds with power ``wanted``.

    Bloom (1995), Evaluation Review 19, 547-556: (t(1 - alpha/2) + t(wanted)) standard errors, with n - 1 degrees of
    freedom. By the noncentral t, its power is within 0.01 of ``wanted`` from n = 10 on.

    Args:
        differences: (n,) paired differences; their scatter is taken for the true one.
        alpha: two-sided level.
        wanted: power aimed at, at least one half.

    Returns:
        The shift in the unit of the differences; None when there is no scatter to go by.
    """
    values = np.asarray(differences, dtype=np.float64)
    error = float(values.std(ddof=1)) / sqrt(values.size) if values.size > 1 else 0.0
    if error == 0:
        return None
    return float(t.isf(alpha / 2, values.size - 1) + t.isf(1 - wanted, values.size - 1)) * error


def holm(pvalues: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the given order: those at most alpha keep the family-wise error rate at alpha.

    Holm (1979), Scandinavian Journal of Statistics 6, 65-70. Holds whatever the dependence between the tests.

    Raises:
        ValueError: a p-value is not between 0 and 1.
    """
    if not all(0 <= p <= 1 for p in pvalues):
        raise ValueError(f"p-values must be between 0 and 1: {list(pvalues)}")
    adjusted = [0.0] * len(pvalues)
    floor = 0.0
    for rank, index in enumerate(sorted(range(len(pvalues)), key=lambda i: pvalues[i])):
        floor = max(floor, min(1.0, (len(pvalues) - rank) * pvalues[index]))
        adjusted[index] = floor
    return adjusted


def power(n: int, lost: float, gained: float, alpha: float = 0.05) -> float:
    """Chance that the exact McNemar test at level ``alpha`` finds a drop, by exact summation.

    Args:
        n: number of samples.
        lost: probability that a sample is lost, 0 to 1.
        gained: probability that a sample is gained; ``lost + gained`` is at most 1.
        alpha: two-sided level; only rejections in the direction of a drop count.

    Raises:
        ValueError: an argument is out of its range.
    """
    changed = lost + gained
    if n < 0 or lost < 0 or gained < 0 or changed > 1 + 1e-12 or not 0 < alpha < 1:
        raise ValueError(f"power({n}, {lost}, {gained}, {alpha}): arguments out of range")
    changed = min(changed, 1.0)
    if n == 0 or changed == 0:
        return 0.0
    # Numbers of changed samples outside these quantiles have a probability below 1e-12 together.
    first, last = int(binom.ppf(1e-12, n, changed)), int(binom.isf(1e-12, n, changed))
    counts: NDArray[Any] = np.arange(max(first, 1), last + 1)
    # Smallest k with P(X >= k) <= alpha / 2 for X binomial(count, 1/2).
    critical = binom.isf(alpha / 2, counts, 0.5) + 1
    found = binom.sf(critical - 1, counts, lost / changed)
    return float(np.sum(binom.pmf(counts, n, changed) * found))


def detectable_drop(n: int, changed: float, alpha: float = 0.05, wanted: float = 0.8) -> float | None:
    """Smallest true drop that the exact McNemar test at level ``alpha`` finds with power ``wanted``.

    Args:
        n: number of samples.
        changed: share of samples that change side in either direction, 0 to 1. A drop larger than that is
            taken to consist of losses alone.
        alpha: two-sided level.
        wanted: power aimed at.

    Returns:
        The drop as a share, to within 1e-4; None when ``n`` is so small that no drop is found.

    Raises:
        ValueError: an argument is out of its range.
    """

    def reached(drop: float) -> bool:
        share = max(changed, drop)
        return power(n, (share + drop) / 2, (share - drop) / 2, alpha) >= wanted

    if not reached(1.0):
        return None
    low, high = 0.0, 1.0
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high
