"""Power of the two tests of a drop against a margin, and the samples that they need. Exact, by summation.

The tests are those that decide in a gate: ``shows_drop`` rejects "the drop is at most the margin", ``excludes_drop``
rejects "the drop is at least the margin". Samples are independent; each is lost, gained or unchanged.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.stats.binomial import binomial
from robustbench_wb.stats.paired import detectable_drop_beyond, p_drop_beyond, tango_interval

Counts = NDArray[np.int64]
DropTest = Callable[[Counts, Counts, Counts], NDArray[np.bool_]]
"""Decision of a test for numbers of samples, of losses and of gains, (k,) each."""

_TAIL: Final = 1e-7
"""Probability of losses, and of gains, that the summation leaves out on either side."""
_POINTS: Final = 64
"""Largest number of counts of gains whose critical count of losses is found exactly; others are interpolated."""
MOST: Final = 1_000_000
"""Largest number of samples that is tried."""


def shows_drop(n: Counts, lost: Counts, gained: Counts, *, margin: float, alpha: float) -> NDArray[np.bool_]:
    """Whether the drop is significantly larger than ``margin``: ``p_drop_beyond`` is at most ``alpha``; (k,)."""
    return p_drop_beyond(n, lost, gained, margin=margin) <= alpha


def excludes_drop(n: Counts, lost: Counts, gained: Counts, *, margin: float, alpha: float) -> NDArray[np.bool_]:
    """Whether Tango's 1 - 2 ``alpha`` interval of the difference lies above -``margin``; (k,)."""
    low, _ = tango_interval(n, lost, gained, confidence=1 - 2 * alpha)
    return low >= -margin


def power_to_show(n: int, lost: float, gained: float, *, margin: float, alpha: float) -> float:
    """Probability that a drop larger than ``margin`` is shown.

    Args:
        n: number of samples.
        lost: probability that a sample is lost.
        gained: probability that a sample is gained; ``lost + gained`` is at most 1.
        margin: accepted drop, a share.
        alpha: one-sided level.
    """
    return 1 - _fewer_losses(n, lost, gained, decides=partial(shows_drop, margin=margin, alpha=alpha))


def power_to_exclude(n: int, lost: float, gained: float, *, margin: float, alpha: float) -> float:
    """Probability that a drop as large as ``margin`` is excluded; arguments as for ``power_to_show``."""

    def leaves(total: Counts, losses: Counts, gains: Counts) -> NDArray[np.bool_]:
        return ~excludes_drop(total, losses, gains, margin=margin, alpha=alpha)

    return _fewer_losses(n, lost, gained, decides=leaves)


def _fewer_losses(n: int, lost: float, gained: float, *, decides: DropTest) -> float:
    """Probability of fewer losses than the first number for which ``decides`` is true, summed over the gains."""
    if n < 1 or min(lost, gained) < 0 or lost + gained > 1 + 1e-12:
        raise ValueError(f"power of a drop: n = {n}, lost {lost}, gained {gained}: arguments out of range")
    first, last = int(binomial().ppf(_TAIL, n, gained)), int(binomial().isf(_TAIL, n, gained))
    gains = np.arange(max(first, 0), max(last, 0) + 1)
    some = np.unique(np.linspace(gains[0], gains[-1], min(len(gains), _POINTS)).astype(np.int64))
    share = min(lost / (1 - gained), 1.0) if gained < 1 else 0.0
    left = int(binomial().ppf(_TAIL, n - gains[-1], share)) - 1
    right = int(binomial().isf(_TAIL, n - gains[0], share)) + 1
    low, high = np.full(len(some), left), np.minimum(right, n - some + 1)
    low = np.minimum(np.maximum(low, -1), high - 1)
    while (high - low > 1).any():
        middle = np.clip((low + high) // 2, 0, n - some)
        seen = decides(np.full(len(some), n), middle, some)
        low, high = np.where(seen | (high - low <= 1), low, middle), np.where(seen & (high - low > 1), middle, high)
    critical = np.rint(np.interp(gains, some, high))
    return float(np.sum(binomial().pmf(gains, n, gained) * binomial().cdf(critical - 1, n - gains, share)))


def samples_needed(power: Callable[[int], float], wanted: float) -> int | None:
    """Smallest number of samples, by doubling and bisection, with at least the ``wanted`` power.

    Power rises in small steps down and large steps up, because counts are whole numbers; at the returned number it is
    at least ``wanted``, and at slightly larger ones it can be lower by less than such a step.

    Returns:
        The number; None if it is above ``MOST``.
    """
    high = 8
    while power(high) < wanted:
        high *= 2
        if high > 2 * MOST:
            return None
    low = high // 2
    while high - low > max(1, low // 200):
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle) >= wanted else (middle, high)
    return high if high <= MOST else None


def smallest_drop(n: int, changed: float, *, margin: float, alpha: float, wanted: float = 0.8) -> float | None:
    """Smallest true drop that is shown to exceed ``margin`` with probability ``wanted``: minimum detectable effect.

    Exact, beside the approximation ``detectable_drop_beyond``, which is the first guess.

    Args:
        n: number of samples.
        changed: share of samples that change without any drop, half of them lost; a drop adds losses.
        margin: accepted drop, a share.
        alpha: one-sided level.
        wanted: power.

    Returns:
        The drop as a share, to within 1e-4; None if even the loss of all samples would not be shown.
    """

    def reached(drop: float) -> bool:
        lost, gained = shares_at(changed, drop)
        return power_to_show(n, lost, gained, margin=margin, alpha=alpha) >= wanted

    if n < 1 or not reached(1.0):
        return None
    low, high = margin, 1.0
    near = detectable_drop_beyond(n, n * changed / 2, margin, alpha=alpha, wanted=wanted)
    guesses = [] if near is None else [margin + share * (near - margin) for share in (0.9, 1.1)]
    while high - low > 1e-4:
        drop = guesses.pop() if guesses else (low + high) / 2
        if low < drop < high:
            low, high = (low, drop) if reached(drop) else (drop, high)
    return high


def shares_at(changed: float, drop: float) -> tuple[float, float]:
    """Probabilities of a loss and of a gain: ``changed`` in equal parts, and ``drop`` as further losses.

    Where both together exceed 1, gains are fewer, so that the difference is still the drop.
    """
    gained = min(changed / 2, (1 - drop) / 2)
    return gained + drop, gained
