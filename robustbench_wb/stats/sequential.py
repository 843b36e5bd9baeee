"""Evidence that may be looked at after every sample: betting martingales for the mean of bounded values.

Ville (1939): a nonnegative process that starts at 1 and cannot be expected to grow under a hypothesis ever reaches
1 / alpha with probability at most alpha. One may therefore stop at any time and for any reason.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

BETS: Final = (0.05, 0.3, 0.7)
"""Shares of the largest bet that cannot lose everything."""
WEIGHTS: Final = (0.1, 0.45, 0.45)
"""Shares of the capital on each bet. Small bets find small differences among many samples, large ones the opposite."""
_SLACK: Final = 1e-9


def log_evidence(values: ArrayLike, limit: float, *, total: int | None = None) -> Floats:
    """Logarithm of the evidence against "the mean is at most ``limit``" after each of some samples.

    Waudby-Smith & Ramdas (2024), Estimating means of bounded random variables by betting, Journal of the Royal
    Statistical Society B 86, 1-27: capital of bets on the next value, ``prod (1 + bet (value - limit))`` with bets from
    0 to 1 / (1 + limit), here a mixture of three constant shares of the largest bet. If the hypothesis is true, the
    capital is a nonnegative supermartingale, whatever the distribution. With ``total`` the samples are drawn without
    replacement, the mean is that of all ``total`` samples, and ``limit`` becomes the mean of the samples that are left
    (section 5; Waudby-Smith & Ramdas 2020, Confidence sequences for sampling without replacement, NeurIPS 33). Evidence
    is infinite as soon as no outcome of the samples that are left could make the hypothesis true.

    Args:
        values: (..., n) values between -1 and 1 in the order of the looks, which must not depend on them.
        limit: largest mean of the hypothesis, above -1 and below 1.
        total: number of samples of the finite set, at least n; None: samples of an unlimited population.

    Returns:
        (..., n) logarithms of the evidence.

    Raises:
        ValueError: a value or the limit is out of its range.
    """
    looked = np.asarray(values, dtype=np.float64)
    count = looked.shape[-1]
    if not (np.abs(looked) <= 1).all() or not -1 < limit < 1 or (total is not None and total < count):
        raise ValueError(f"log_evidence: {count} values in [-1, 1], limit {limit} in (-1, 1), total {total}")
    expected = np.full_like(looked, limit)
    impossible = np.zeros(looked.shape, dtype=np.bool_)
    if total is not None:
        sums, left = np.cumsum(looked, axis=-1), total - np.arange(count)
        expected = (total * limit - (sums - looked)) / left
        impossible = np.maximum.accumulate(sums - (left - 1) > total * limit + _SLACK, axis=-1)
    room = np.clip(expected, -1.0, 1.0) + 1
    # Without room, the values that are left are all -1, or the hypothesis is impossible: nothing is to be won by a bet.
    gain = np.divide(looked + 1 - room, room, out=np.zeros_like(looked), where=room > _SLACK)
    paths = [
        np.cumsum(np.log1p(bet * gain), axis=-1) + np.log(weight) for bet, weight in zip(BETS, WEIGHTS, strict=True)
    ]
    evidence: Floats = np.where(impossible, np.inf, np.logaddexp.reduce(paths, axis=0))
    return evidence


def anytime_p(evidence: Floats) -> Floats:
    """p-values that hold at every stopping time: 1 / the largest evidence so far, (..., n).

    Under the hypothesis the smallest of them is at most alpha with probability at most alpha (Ville 1939; Howard,
    Ramdas, McAuliffe & Sekhon 2021, Annals of Statistics 49, 1055-1080), so that Holm's correction of several of them
    keeps the family-wise error rate, wherever each of them is stopped. 1 / e is the smallest p-value that can be made
    of any evidence e (Vovk & Wang 2021, E-values: calibration, combination and applications, Annals of Statistics 49,
    1736-1754).
    """
    p: Floats = np.exp(-np.maximum(np.maximum.accumulate(evidence, axis=-1), 0.0))
    return p


def sample_order(ids: Sequence[int] | NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Positions of samples in a random order that depends on the seed and each sample's id only; (n,).

    Samples are sorted by the finaliser of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014) of their id, so that the order
    of some samples is the same among more of them.
    """
    golden = np.uint64(0x9E3779B97F4A7C15)
    with np.errstate(over="ignore"):
        word = _mix(_mix(np.asarray(ids, dtype=np.int64).astype(np.uint64) * golden) + np.uint64(seed) * golden)
    return np.argsort(word, kind="stable")


def _mix(word: NDArray[np.uint64]) -> NDArray[np.uint64]:
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))
