"""Paired right-or-wrong outcomes: exact test, score interval, power. Everything is computed for many cells at once.

``lost`` are the samples that were right before and are wrong now, ``gained`` the opposite, of ``n`` in all. The others
say nothing about the difference.
"""

from math import ceil, sqrt
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom, norm, t

Floats = NDArray[np.float64]
_STEPS = 44
"""Of bisection, to 1e-13."""
_TAIL = 1e-10
"""Numbers of changed samples outside these quantiles are left out of a power; it is off by less than twice that."""


def mcnemar(lost: ArrayLike, gained: ArrayLike) -> Floats:
    """Exact two-sided p-value of McNemar's test: are losses and gains equally likely?

    Given the number of samples that changed side, losses are binomial with probability one half (McNemar
    1947, Psychometrika 12, 153-157). No change at all gives 1; 0 against 4 gives 0.125.

    Args:
        lost: counts of any shape.
        gained: counts of the same shape.

    Raises:
        ValueError: a count is negative.
    """
    losses, gains = np.asarray(lost), np.asarray(gained)
    if (losses < 0).any() or (gains < 0).any():
        raise ValueError(f"counts must not be negative: {lost!r}, {gained!r}")
    p: Floats = np.minimum(1.0, 2 * binom.cdf(np.minimum(losses, gains), losses + gains, 0.5))
    return p


def tango_interval(n: ArrayLike, lost: ArrayLike, gained: ArrayLike, confidence: float = 0.95) -> tuple[Floats, Floats]:
    """Ends of Tango's interval of the paired difference (gained - lost) / n.

    Tango (1998), Statistics in Medicine 17, 891-908: all differences D that a score test does not reject, with the
    probability of a loss replaced by its maximum-likelihood estimate given D. Its two one-sided tests keep their level
    at few changes too, which Wald intervals with added counts do not.

    Args:
        n: numbers of samples, (k,); they need not be whole (effective numbers).
        lost: (k,), at least 0.
        gained: (k,), at least 0; ``lost + gained`` is at most ``n``.
        confidence: coverage aimed at, above 0 and below 1.

    Returns:
        Low and high ends, (k,) each, as shares from -1 to 1; -1 and 1 without samples.

    Raises:
        ValueError: an argument is out of its range.
    """
    total, losses, gains = (np.asarray(value, dtype=np.float64) for value in (n, lost, gained))
    if (np.minimum(losses, gains) < 0).any() or (losses + gains > total * (1 + 1e-12)).any() or not 0 < confidence < 1:
        raise ValueError(f"score_interval({n!r}, {lost!r}, {gained!r}, {confidence}): arguments out of range")
    # The high end is the low one of the opposite; both at once.
    one, other = np.concatenate([losses, gains]), np.concatenate([gains, losses])
    ends = _lower_end(np.concatenate([total, total]), one, other, float(norm.isf((1 - confidence) / 2)))
    low, high = np.split(ends, 2)
    return low, -high


def _lower_end(n: Floats, lost: Floats, gained: Floats, z: float) -> Floats:
    """The smallest difference that is not rejected: between -1 and the estimate, by bisection."""
    outside, inside = -np.ones_like(n), (gained - lost) / np.maximum(n, 1e-300)
    inside = np.where(n > 0, inside, -1.0)
    for _ in range(_STEPS):
        middle = (outside + inside) / 2
        rejected = gained - lost - n * middle > z * _spread(middle, n, lost, gained)
        outside, inside = np.where(rejected, middle, outside), np.where(rejected, inside, middle)
    return inside


def _spread(difference: Floats, n: Floats, lost: Floats, gained: Floats) -> Floats:
    """Standard deviation of gained - lost, if that is the true difference: eq. 16 and 17 of Tango (1998)."""
    losing = _losing(difference, n, lost, gained)
    spread: Floats = np.sqrt(np.maximum(n * (2 * losing + difference * (1 - difference)), 0.0))
    return spread


def _losing(difference: Floats, n: Floats, lost: Floats, gained: Floats) -> Floats:
    """Maximum-likelihood probability of a loss, if that is the true difference: eq. 16 of Tango (1998)."""
    linear = (2 * n + lost - gained) * difference - lost - gained
    constant = -lost * difference * (1 - difference)
    root = np.sqrt(np.maximum(linear * linear - 8 * n * constant, 0.0))
    losing: Floats = (root - linear) / np.maximum(4 * n, 1e-300)
    return losing


def p_drop_beyond(n: ArrayLike, lost: ArrayLike, gained: ArrayLike, margin: float) -> Floats:
    """One-sided p-value of a drop larger than ``margin``, against one of at most that.

    With a margin below 0: that there is no gain as large as that, as a test of non-inferiority asks.

    The chance of so large a surplus of losses over gains at a true drop of just the margin, summed over the number of
    changed samples, whose probability is its maximum-likelihood estimate under that drop (an estimated p-value: Lloyd
    2008, Australian & New Zealand Journal of Statistics 50, 329-345). A margin of 0 needs no estimate: given
    the changed samples it is McNemar's exact test, one-sided.

    Args:
        n: numbers of samples, (k,).
        lost: counts, (k,). With a margin other than 0 they need not be whole; so the next ones.
        gained: counts, (k,); ``lost + gained`` is at most ``n``.
        margin: a share, above -1 and below 1.

    Raises:
        ValueError: an argument is out of its range.
    """
    total, losses, gains = (np.atleast_1d(np.asarray(value, dtype=np.float64)) for value in (n, lost, gained))
    if (np.minimum(losses, gains) < 0).any() or (losses + gains > total).any() or not -1 < margin < 1:
        raise ValueError(f"p_beyond({n!r}, {lost!r}, {gained!r}, {margin}): arguments out of range")
    if margin == 0:
        return np.asarray(binom.sf(losses - 1, losses + gains, 0.5))
    losing = _losing(np.full_like(total, -margin), total, losses, gains)
    changed = np.clip(2 * losing - margin, abs(margin), 1.0)
    first = np.asarray(binom.ppf(_TAIL, total, changed))
    width = int(np.max(binom.isf(_TAIL, total, changed) - first, initial=0)) + 1
    counts = first[:, None] + np.arange(width)
    weight = binom.pmf(counts, total[:, None], changed[:, None])
    fewest = np.ceil((counts + (losses - gains)[:, None]) / 2)
    tails = binom.sf(fewest - 1, counts, ((changed + margin) / (2 * changed))[:, None])
    p: Floats = np.minimum(np.sum(weight * tails, axis=1), 1.0)
    return p


def detectable_drop_beyond(
    n: float, lost: float, gained: float, margin: float, alpha: float = 0.05, wanted: float = 0.8
) -> float | None:
    """Smallest true drop that :func:`p_beyond` finds at level ``alpha`` with power ``wanted``.

    By the normal approximation of the surplus of losses, with its spread under the drop of the margin that fits best
    (Tango 1998) for the level and its own for the power, and half a sample for its steps. The share of gains is the
    observed one.

    Returns:
        The drop as a share; None where even the loss of all samples would not be found.
    """

    certain, likely = (float(norm.isf(share)) for share in (alpha, 1 - wanted))

    def missing(drop: float) -> float:
        """How much the surplus of losses lacks to be found, in samples."""
        gains = min(gained / n, (1 - drop) / 2)
        losses, gaining = np.array([n * (gains + drop)]), np.array([n * gains])
        level = certain * float(_spread(np.array([-margin]), np.array([n]), losses, gaining)[0])
        own = likely * sqrt(n * max(drop + 2 * gains - drop * drop, 0.0))
        return level + own + 0.5 - n * (drop - margin)

    low, high = margin, 1.0
    if missing(high) > 0:
        return None
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if missing(middle) > 0 else (low, middle)
    return high


def mcnemar_power(n: ArrayLike, lost: ArrayLike, gained: ArrayLike, alpha: float = 0.05) -> Floats:
    """Chance that the exact McNemar test at level ``alpha`` finds a drop, by exact summation.

    Args:
        n: numbers of samples, (k,).
        lost: probabilities that a sample is lost, (k,).
        gained: probabilities that a sample is gained; ``lost + gained`` is at most 1.
        alpha: two-sided level; only rejections in the direction of a drop count.

    Raises:
        ValueError: an argument is out of its range.
    """
    count, losing, gaining = np.atleast_1d(*np.broadcast_arrays(np.asarray(n), np.asarray(lost), np.asarray(gained)))
    changed = losing + gaining
    out = (count < 0) | (losing < 0) | (gaining < 0) | (changed > 1 + 1e-12)
    if out.any() or not 0 < alpha < 1:
        raise ValueError(f"power({n!r}, {lost!r}, {gained!r}, {alpha}): arguments out of range")
    changed = np.minimum(changed, 1.0)
    first = np.maximum(binom.ppf(_TAIL, count, changed), 1).astype(np.int64)
    width = int((binom.isf(_TAIL, count, changed) - first).max(initial=0)) + 1
    counts = np.minimum(first[:, None] + np.arange(width), np.maximum(count, 1)[:, None])
    # Beyond n there is nothing, and the clipped columns repeat it: their weight is 0.
    weight = binom.pmf(first[:, None] + np.arange(width), count[:, None], changed[:, None])
    share = np.divide(losing, changed, out=np.zeros_like(changed), where=changed > 0)
    found = binom.sf(critical_counts(counts, alpha) - 1, counts, share[:, None])
    chance: Floats = np.sum(weight * found, axis=1)
    return chance


def critical_counts(counts: NDArray[np.int64], alpha: float) -> NDArray[np.int64]:
    """For so many changed samples: the fewest losses with P(X >= k) <= alpha / 2, X binomial with one half.

    The normal quantile is never off by two (a test looks), so that a few exact tails tell; the library's own inverse
    searches for each of them.
    """
    distinct, places = np.unique(counts, return_inverse=True)
    guess = np.floor(distinct / 2 + float(norm.isf(alpha / 2)) * np.sqrt(distinct) / 2).astype(np.int64)
    tails = binom.sf(guess + np.arange(-2, 3)[:, None], distinct, 0.5)
    found: NDArray[np.int64] = (guess - 1 + np.sum(tails > alpha / 2, axis=0))[places].reshape(counts.shape)
    return found


def detectable_drop(n: ArrayLike, changed: ArrayLike, alpha: float = 0.05, wanted: float = 0.8) -> Floats:
    """Smallest true drop that the exact McNemar test at level ``alpha`` finds with power ``wanted``.

    Args:
        n: numbers of samples, (k,).
        changed: shares of samples that change side in either direction, 0 to 1. A drop larger than that is
            taken to consist of losses alone.
        alpha: two-sided level.
        wanted: power aimed at.

    Returns:
        The drops as shares, to within 1e-4, (k,); NaN where ``n`` is so small that no drop is found.

    Raises:
        ValueError: an argument is out of its range.
    """
    pairs = np.stack(np.atleast_1d(*np.broadcast_arrays(np.asarray(n, dtype=np.float64), np.asarray(changed))), axis=1)
    cells, places = np.unique(pairs, axis=0, return_inverse=True)
    count, share = cells[:, 0].astype(np.int64), cells[:, 1]

    def reached(drop: Floats) -> NDArray[np.bool_]:
        either = np.maximum(share, drop)
        return mcnemar_power(count, (either + drop) / 2, (either - drop) / 2, alpha) >= wanted

    low, high = np.zeros(len(cells)), np.ones(len(cells))
    hopeless = ~reached(high)
    for _ in range(ceil(-np.log2(1e-4))):
        middle = (low + high) / 2
        seen = reached(middle)
        low, high = np.where(seen, low, middle), np.where(seen, middle, high)
    drops: Floats = np.where(hopeless, np.nan, high)[places.ravel()]
    return drops


def detectable_shift(differences: NDArray[np.floating[Any]], alpha: float = 0.05, wanted: float = 0.8) -> float | None:
    """Smallest true mean, in absolute value, that a paired test at level ``alpha`` finds with power ``wanted``.

    Bloom (1995), Evaluation Review 19, 547-556: (t(1 - alpha/2) + t(wanted)) standard errors, with n - 1 degrees of
    freedom. By the noncentral t, the power of a t-test is within 0.01 of ``wanted`` from n = 10 on, and that of the
    permutation test is the same in the limit (Hoeffding 1952, Annals of Mathematical Statistics 23, 169-192).

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
