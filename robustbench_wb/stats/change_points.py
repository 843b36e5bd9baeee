"""Change points of paired outcomes over time: the same samples, evaluated several times."""

from math import sqrt
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri  # scipy.stats, which calls them, takes a second to import

from robustbench_wb.streams import philox_stream

Floats = NDArray[np.float64]

DRAWS: Final = 1_999
"""Random permutations per test; p-values are multiples of 1/2,000."""
_PERMUTED: Final = 10_000
"""Largest number of values that are permuted; the sums of more values are drawn from their normal limit."""


class ChangePoint(NamedTuple):
    """First evaluation of a new level."""

    at: int
    p: float


def change_points(values: Floats, alpha: float = 0.05) -> list[ChangePoint]:
    """Find evaluations at which the mean changes, by binary segmentation (Vostrikova 1981, Soviet Mathematics Doklady
    24, 55-59).

    A segment is split where the weighted CUSUM of the means, ``|sum of the first t deviations| / sqrt(t (k - t) / k)``,
    is largest, if its p-value is at most ``alpha``; both parts are then tested likewise. The null hypothesis is that
    the evaluations of each sample are exchangeable, so their order is permuted within each sample, as in the tests of
    Friedman (1937) and Cochran (1950). One test covers all places of a segment, and without any change the
    probability of a false change point is at most ``alpha``. For two evaluations the test is the paired permutation
    test.

    Args:
        values: (n, k) outcomes of n samples in k evaluations, oldest first.
        alpha: level of the test of a segment.

    Returns:
        Change points in the order of time.
    """
    found: list[ChangePoint] = []
    segments = [(0, values.shape[1])]
    while segments:
        start, end = segments.pop()
        split = _split(values[:, start:end])
        if split is not None and split.p <= alpha:
            found.append(ChangePoint(start + split.at, split.p))
            segments += [(start, start + split.at), (start + split.at, end)]
    return sorted(found)


def _split(values: Floats) -> ChangePoint | None:
    """Most likely change point of a segment with its p-value; None if no sample ever changes."""
    moving = values[np.ptp(values, axis=1) > 0] if values.shape[1] > 1 else values[:0]
    if not len(moving):
        return None
    centred = moving - moving.mean(axis=1, keepdims=True)
    observed = _cusum(centred.sum(axis=0)[None])[0]
    at = int(np.argmax(observed))
    null = _cusum(_null_sums(centred)).max(axis=1)
    extreme = int(np.count_nonzero(null >= observed[at] - 1e-9 * np.abs(centred).sum()))
    return ChangePoint(at + 1, (1 + extreme) / (1 + len(null)))


def _cusum(sums: Floats) -> Floats:
    """Weighted CUSUM after 1 to k - 1 evaluations, (draws, k - 1), of sums of deviations (draws, k)."""
    count = sums.shape[1]
    weights = np.array([sqrt(count / (t * (count - t))) for t in range(1, count)])
    weighted: Floats = np.abs(np.cumsum(sums, axis=1)[:, :-1]) * weights
    return weighted


def _null_sums(centred: Floats) -> Floats:
    """Sums over the samples, (DRAWS, k), with the evaluations of each sample in random order.

    With many values the sums are normal, with the covariance of permuted rows: the sum of the row variances times the
    centring matrix.
    """
    count = centred.shape[1]
    source = philox_stream("change points")
    if centred.size > _PERMUTED:
        uniform = (source.random_raw(DRAWS * count).reshape(DRAWS, count) >> np.uint64(11)).astype(np.float64)
        normal = ndtri((uniform + 0.5) / 2**53)
        spread = sqrt(float(centred.var(axis=1, ddof=1).sum()))
        sums: Floats = spread * (normal - normal.mean(axis=1, keepdims=True))
        return sums
    drawn = np.empty((DRAWS, count))
    for draw in range(DRAWS):
        order = np.argsort(source.random_raw(centred.size).reshape(centred.shape), axis=1)
        drawn[draw] = np.take_along_axis(centred, order, axis=1).sum(axis=0)
    return drawn
