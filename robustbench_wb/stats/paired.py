"""Paired binary outcomes: exact test, score interval and power, vectorised over cells.

Of ``n`` samples, ``lost`` were correct before and are wrong now, and ``gained`` were wrong before and are correct now.
The concordant samples carry no information about the difference.
"""

from math import ceil, sqrt
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtrit  # scipy.stats, which calls them, takes a second to import

from robustbench_wb.stats.binomial import binomial

Floats = NDArray[np.float64]
_STEPS = 44
"""Number of bisection steps; the result is exact to 1e-13."""
_TAIL = 1e-10
"""Tail probability of the number of changed samples that sums leave out; a sum is off by less than twice this value."""


def mcnemar(lost: ArrayLike, gained: ArrayLike) -> Floats:
    """Exact two-sided p-value of McNemar's test of equally likely losses and gains.

    Given the number of changed samples, losses are binomial with probability 1/2 (McNemar 1947, Psychometrika 12,
    153-157). Without any change p is 1; 0 losses against 4 gains give 0.125.

    Args:
        lost: counts of any shape.
        gained: counts of the shape of ``lost``.

    Raises:
        ValueError: a count is negative.
    """
    losses, gains = np.asarray(lost), np.asarray(gained)
    if (losses < 0).any() or (gains < 0).any():
        raise ValueError(f"counts must not be negative: {lost!r}, {gained!r}")
    p: Floats = np.minimum(1.0, 2 * binomial().cdf(np.minimum(losses, gains), losses + gains, 0.5))
    return p


def tango_interval(
    n: ArrayLike, lost: ArrayLike, gained: ArrayLike, *, confidence: float = 0.95
) -> tuple[Floats, Floats]:
    """Ends of Tango's score interval of the paired difference (gained - lost) / n.

    Tango (1998), Statistics in Medicine 17, 891-908: all differences D that a score test does not reject, with the
    probability of a loss replaced by its maximum-likelihood estimate given D. The two one-sided tests keep their level
    even with few changes; Wald intervals with added counts do not.

    Args:
        n: (k,) numbers of samples; fractions are allowed, for effective sample sizes.
        lost: (k,) numbers of losses, at least 0.
        gained: (k,) numbers of gains, at least 0; ``lost + gained`` is at most ``n``.
        confidence: nominal coverage, above 0 and below 1.

    Returns:
        Low and high ends, (k,) each, as shares in [-1, 1]; -1 and 1 without samples.

    Raises:
        ValueError: an argument is out of its range.
    """
    total, losses, gains = (np.asarray(value, dtype=np.float64) for value in (n, lost, gained))
    if (np.minimum(losses, gains) < 0).any() or (losses + gains > total * (1 + 1e-12)).any() or not 0 < confidence < 1:
        raise ValueError(f"tango_interval({n!r}, {lost!r}, {gained!r}, {confidence}): arguments out of range")
    # The high end is minus the low end with losses and gains exchanged; both are found in one call.
    one, other = np.concatenate([losses, gains]), np.concatenate([gains, losses])
    ends = _lower_end(np.concatenate([total, total]), one, other, z=-float(ndtri((1 - confidence) / 2)))
    low, high = np.split(ends, 2)
    return low, -high


def _lower_end(n: Floats, lost: Floats, gained: Floats, *, z: float) -> Floats:
    """Smallest difference that the score test does not reject, (k,), by bisection between -1 and the estimate."""
    outside, inside = -np.ones_like(n), (gained - lost) / np.maximum(n, 1e-300)
    inside = np.where(n > 0, inside, -1.0)
    for _ in range(_STEPS):
        middle = (outside + inside) / 2
        rejected = gained - lost - n * middle > z * _spread(n, lost, gained, difference=middle)
        outside, inside = np.where(rejected, middle, outside), np.where(rejected, inside, middle)
    return inside


def _spread(n: Floats, lost: Floats, gained: Floats, *, difference: Floats) -> Floats:
    """Standard deviation of gained - lost under the true share ``difference``, (k,): Tango (1998), eq. 16 and 17."""
    losing = _losing(n, lost, gained, difference=difference)
    spread: Floats = np.sqrt(np.maximum(n * (2 * losing + difference * (1 - difference)), 0.0))
    return spread


def _losing(n: Floats, lost: Floats, gained: Floats, *, difference: Floats) -> Floats:
    """Maximum-likelihood probability of a loss under the true share ``difference``, (k,): Tango (1998), eq. 16."""
    linear = (2 * n + lost - gained) * difference - lost - gained
    constant = -lost * difference * (1 - difference)
    root = np.sqrt(np.maximum(linear * linear - 8 * n * constant, 0.0))
    losing: Floats = (root - linear) / np.maximum(4 * n, 1e-300)
    return losing


def p_drop_beyond(n: ArrayLike, lost: ArrayLike, gained: ArrayLike, *, margin: float) -> Floats:
    """One-sided p-value of the hypothesis "the true drop is at most ``margin``".

    A small p shows a drop larger than the margin; with a negative margin it shows that no gain is as large as
    ``-margin``.

    p is the probability of at least the observed surplus of losses over gains at a true drop equal to the margin,
    summed over the number of changed samples. The probability of a change is its maximum-likelihood estimate under that
    drop, so p is an estimated p-value (Lloyd 2008, Australian & New Zealand Journal of Statistics 50, 329-345). With a
    margin of 0 no estimate is needed: conditional on the changed samples, the test is McNemar's exact test, one-sided.

    Args:
        n: (k,) numbers of samples.
        lost: (k,) numbers of losses; fractions are allowed unless the margin is 0.
        gained: (k,) numbers of gains; fractions are allowed unless the margin is 0. ``lost + gained`` is at most ``n``.
        margin: a share, above -1 and below 1.

    Returns:
        (k,) p-values.

    Raises:
        ValueError: an argument is out of its range.
    """
    total, losses, gains = (np.atleast_1d(np.asarray(value, dtype=np.float64)) for value in (n, lost, gained))
    if (np.minimum(losses, gains) < 0).any() or (losses + gains > total).any() or not -1 < margin < 1:
        raise ValueError(f"p_drop_beyond({n!r}, {lost!r}, {gained!r}, {margin}): arguments out of range")
    if margin == 0:
        return np.asarray(binomial().sf(losses - 1, losses + gains, 0.5))
    losing = _losing(total, losses, gains, difference=np.full_like(total, -margin))
    changed = np.clip(2 * losing - margin, abs(margin), 1.0)
    first = np.asarray(binomial().ppf(_TAIL, total, changed))
    width = int(np.max(binomial().isf(_TAIL, total, changed) - first, initial=0)) + 1
    counts = first[:, None] + np.arange(width)
    weight = binomial().pmf(counts, total[:, None], changed[:, None])
    fewest = np.ceil((counts + (losses - gains)[:, None]) / 2)
    tails = binomial().sf(fewest - 1, counts, ((changed + margin) / (2 * changed))[:, None])
    p: Floats = np.minimum(np.sum(weight * tails, axis=1), 1.0)
    return p


def detectable_drop_beyond(
    n: float, gained: float, margin: float, *, alpha: float = 0.05, wanted: float = 0.8
) -> float | None:
    """Minimum detectable drop of ``p_drop_beyond`` at level ``alpha`` and power ``wanted``.

    Normal approximation of the surplus of losses with a continuity correction of half a sample. The standard deviation
    is Tango's (1998) restricted estimate for the level and the unrestricted one for the power. The share of gains is
    the observed one.

    Args:
        n: number of samples, above 0.
        gained: observed number of gains.
        margin: accepted drop, a share.
        alpha: one-sided level.
        wanted: power.

    Returns:
        The drop as a share; None if even the loss of all samples would not be detected.
    """

    certain, likely = (-float(ndtri(share)) for share in (alpha, 1 - wanted))

    def missing(drop: float) -> float:
        """Losses, in samples, by which the expected surplus at this drop falls short of detection."""
        gains = min(gained / n, (1 - drop) / 2)
        losses, gaining = np.array([n * (gains + drop)]), np.array([n * gains])
        level = certain * float(_spread(np.array([n]), losses, gaining, difference=np.array([-margin]))[0])
        own = likely * sqrt(n * max(drop + 2 * gains - drop * drop, 0.0))
        return level + own + 0.5 - n * (drop - margin)

    low, high = margin, 1.0
    if missing(high) > 0:
        return None
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if missing(middle) > 0 else (low, middle)
    return high


def mcnemar_power(n: ArrayLike, lost: ArrayLike, gained: ArrayLike, *, alpha: float = 0.05) -> Floats:
    """Power of the exact McNemar test at level ``alpha`` against a drop, by exact summation.

    Args:
        n: (k,) numbers of samples.
        lost: (k,) probabilities that a sample is lost.
        gained: (k,) probabilities that a sample is gained; ``lost + gained`` is at most 1.
        alpha: two-sided level; only rejections in the direction of a drop count.

    Returns:
        (k,) probabilities.

    Raises:
        ValueError: an argument is out of its range.
    """
    count, losing, gaining = np.atleast_1d(*np.broadcast_arrays(np.asarray(n), np.asarray(lost), np.asarray(gained)))
    changed = losing + gaining
    out = (count < 0) | (losing < 0) | (gaining < 0) | (changed > 1 + 1e-12)
    if out.any() or not 0 < alpha < 1:
        raise ValueError(f"mcnemar_power({n!r}, {lost!r}, {gained!r}, {alpha}): arguments out of range")
    changed = np.minimum(changed, 1.0)
    first = np.maximum(binomial().ppf(_TAIL, count, changed), 1).astype(np.int64)
    width = int((binomial().isf(_TAIL, count, changed) - first).max(initial=0)) + 1
    counts = np.minimum(first[:, None] + np.arange(width), np.maximum(count, 1)[:, None])
    # Counts above n are impossible: their columns repeat n and have weight 0.
    weight = binomial().pmf(first[:, None] + np.arange(width), count[:, None], changed[:, None])
    share = np.divide(losing, changed, out=np.zeros_like(changed), where=changed > 0)
    found = binomial().sf(critical_counts(counts, alpha) - 1, counts, share[:, None])
    chance: Floats = np.sum(weight * found, axis=1)
    return chance


def critical_counts(counts: NDArray[np.int64], alpha: float) -> NDArray[np.int64]:
    """Smallest k with P(X >= k) <= alpha / 2 for X ~ Binomial(count, 1/2), for each count; shape of ``counts``.

    The normal quantile is off by less than two, which a test checks, so five exact tails suffice. scipy's inverse
    searches anew for every count.
    """
    distinct, places = np.unique(counts, return_inverse=True)
    guess = np.floor(distinct / 2 - float(ndtri(alpha / 2)) * np.sqrt(distinct) / 2).astype(np.int64)
    tails = binomial().sf(guess + np.arange(-2, 3)[:, None], distinct, 0.5)
    found: NDArray[np.int64] = (guess - 1 + np.sum(tails > alpha / 2, axis=0))[places].reshape(counts.shape)
    return found


def detectable_drop(n: ArrayLike, changed: ArrayLike, alpha: float = 0.05, wanted: float = 0.8) -> Floats:
    """Minimum detectable drop of the exact McNemar test at level ``alpha`` and power ``wanted``.

    Args:
        n: (k,) numbers of samples.
        changed: (k,) shares of samples that change in either direction, in [0, 1]. A drop above this share is taken to
            consist of losses alone.
        alpha: two-sided level.
        wanted: power.

    Returns:
        (k,) drops as shares, to within 1e-4; NaN where ``n`` is too small to detect any drop.

    Raises:
        ValueError: an argument is out of its range.
    """
    pairs = np.stack(np.atleast_1d(*np.broadcast_arrays(np.asarray(n, dtype=np.float64), np.asarray(changed))), axis=1)
    cells, places = np.unique(pairs, axis=0, return_inverse=True)
    count, share = cells[:, 0].astype(np.int64), cells[:, 1]

    def reached(drop: Floats) -> NDArray[np.bool_]:
        either = np.maximum(share, drop)
        return mcnemar_power(count, (either + drop) / 2, (either - drop) / 2, alpha=alpha) >= wanted

    low, high = np.zeros(len(cells)), np.ones(len(cells))
    hopeless = ~reached(high)
    for _ in range(ceil(-np.log2(1e-4))):
        middle = (low + high) / 2
        seen = reached(middle)
        low, high = np.where(seen, low, middle), np.where(seen, middle, high)
    drops: Floats = np.where(hopeless, np.nan, high)[places.ravel()]
    return drops


def detectable_shift(differences: NDArray[np.floating[Any]], alpha: float = 0.05, wanted: float = 0.8) -> float | None:
    """Minimum detectable mean difference of a paired test at level ``alpha`` and power ``wanted``, in absolute value.

    Bloom (1995), Evaluation Review 19, 547-556: (t(1 - alpha/2) + t(wanted)) standard errors, with n - 1 degrees of
    freedom. By the noncentral t, the power of a t-test is within 0.01 of ``wanted`` from n = 10 on. The permutation
    test has the same power asymptotically (Hoeffding 1952, Annals of Mathematical Statistics 23, 169-192).

    Args:
        differences: (n,) paired differences; their sample standard deviation stands for the true one.
        alpha: two-sided level.
        wanted: power, at least 1/2.

    Returns:
        The mean difference in the unit of the differences; None if the standard deviation is 0 or unknown.
    """
    values = np.asarray(differences, dtype=np.float64)
    error = float(values.std(ddof=1)) / sqrt(values.size) if values.size > 1 else 0.0
    if error == 0:
        return None
    return -float(stdtrit(values.size - 1, alpha / 2) + stdtrit(values.size - 1, 1 - wanted)) * error
