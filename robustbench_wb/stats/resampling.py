"""Distribution-free tests and intervals: sign-flip permutation test and BCa bootstrap, with counter-based randomness.

Random words come from Philox streams named by their use (``robustbench_wb.streams``). The result for one column of
values does not depend on the other columns.
"""

from collections.abc import Iterator, Sequence
from math import inf
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri  # scipy.stats, which calls them, takes a second to import

from robustbench_wb.stats.intervals import Interval
from robustbench_wb.streams import philox_stream, scale_to_integers

Floats = NDArray[np.float64]

FLIPS: Final = 9_999
"""Random sign patterns per test; together with the observed pattern, p-values are multiples of 1/10,000."""
DRAWS: Final = 2_000
"""Bootstrap samples per interval."""
_EXACT: Final = 13
"""Largest number of nonzero values whose sign patterns are all enumerated: 2^13 is below ``FLIPS``."""
_BLOCK: Final = 1 << 21
"""Numbers held in memory at once while bootstrap samples are drawn."""


def sign_flip_p(columns: Sequence[Floats]) -> list[float]:
    """Two-sided p-value of the paired permutation test, for each column of differences.

    Under the null hypothesis the two sides of a pair are exchangeable, so each difference could have either sign. p is
    the share of sign patterns whose sum is at least as far from 0 as the observed sum (Fisher 1935, The Design of
    Experiments, section 21). Zeros are left out. Up to 13 nonzero values all patterns are enumerated and p is exact;
    for differences of +-1 it then equals McNemar's. With more values, random patterns give
    p = (1 + as extreme) / (1 + ``FLIPS``) (Phipson & Smyth 2010, Statistical Applications in Genetics and Molecular
    Biology 9, 39). Such a p is at least 1/10,000 and could never be significant in a large family. Therefore p is
    Hoeffding's bound of the exact p, 2 exp(-S^2 / (2 sum d^2)) (1963, Journal of the American Statistical Association
    58, 13-30), where this bound is below 1/10,000.

    Args:
        columns: (n,) finite differences each, one per independent unit, like the sum over the cells of one sample.

    Returns:
        One p-value per column.
    """
    values = [column[column != 0] for column in columns]
    found = [_at_once(value) for value in values]
    open_ones = [index for index, p in enumerate(found) if p < 0]
    for index, p in zip(open_ones, _random_patterns([values[index] for index in open_ones]), strict=True):
        found[index] = p
    return found


def _at_once(values: Floats) -> float:
    """p-value without random patterns: exact or Hoeffding's bound; -1 if random patterns are needed."""
    if not len(values):
        return 1.0
    if len(values) <= _EXACT:
        return _all_patterns(values)
    bound = 2 * float(np.exp(-(values.sum() ** 2) / (2 * np.sum(values * values))))
    return bound if bound < 1 / (1 + FLIPS) else -1.0


def _all_patterns(values: Floats) -> float:
    patterns = np.arange(1 << len(values))[:, None] >> np.arange(len(values)) & 1
    return float(np.mean(_as_extreme(patterns @ values, values)))


def _as_extreme(kept: Floats, values: Floats) -> NDArray[np.bool_]:
    """Whether each pattern's sum is as far from 0 as the observed sum; ``kept`` holds the sums of unflipped values."""
    total = values.sum()
    extreme: NDArray[np.bool_] = np.abs(2 * kept - total) >= abs(total) - 1e-9 * np.abs(values).sum()
    return extreme


def _random_patterns(columns: Sequence[Floats]) -> list[float]:
    longest = max(map(len, columns), default=0)
    padded = np.zeros((longest, len(columns)))
    for index, column in enumerate(columns):
        padded[: len(column), index] = column
    kept, words = np.zeros((FLIPS, len(columns))), _words("sign flips")
    # Each block of 64 values has its own words, so a longer column does not change the signs of a shorter one.
    for start in range(0, longest, 64):
        signs = np.unpackbits(next(words).view(np.uint8).reshape(FLIPS, 8), axis=1, bitorder="little")
        part = padded[start : start + 64]
        kept += signs[:, : len(part)].astype(np.float64) @ part
    return [_p(kept[:, index], column) for index, column in enumerate(columns)]


def _p(kept: Floats, values: Floats) -> float:
    return (1 + int(np.count_nonzero(_as_extreme(kept, values)))) / (1 + FLIPS)


def _words(label: str) -> Iterator[NDArray[np.uint64]]:
    """Endless batches of ``FLIPS`` random 64-bit words in little-endian order."""
    source = philox_stream(label)
    while True:
        yield source.random_raw(FLIPS).astype("<u8")


def bca_intervals(columns: Sequence[Floats], confidences: Sequence[float]) -> list[list[Interval]]:
    """Bias-corrected and accelerated (BCa) bootstrap intervals of means: for each column, one per confidence.

    Efron (1987), Journal of the American Statistical Association 82, 171-185: percentiles of ``DRAWS`` bootstrap
    means, corrected by the median bias z0 and the acceleration a = sum(d^3) / (6 sum(d^2)^(3/2)) of the deviations d
    from the mean.

    Args:
        columns: (n,) finite numbers each, one per independent unit.
        confidences: nominal coverages, above 0 and below 1.

    Returns:
        The intervals; (-inf, inf) for fewer than two values, and (mean, mean) if all values are equal.

    Raises:
        ValueError: a value is not finite, or a confidence is out of range.
    """
    if not all(np.isfinite(column).all() for column in columns) or not all(0 < part < 1 for part in confidences):
        raise ValueError(f"bca_intervals: values must be finite and confidences {confidences} in (0, 1)")
    found: list[list[Interval]] = []
    lengths: dict[int, list[int]] = {}
    for index, column in enumerate(columns):
        mean = float(column.mean()) if len(column) else 0.0
        only = Interval(mean, mean) if len(column) > 1 else Interval(-inf, inf)
        found.append([only] * len(confidences))
        if len(column) > 1 and np.ptp(column) > 0:
            lengths.setdefault(len(column), []).append(index)
    for members in lengths.values():
        # Deviations are resampled, so that the intervals of -values mirror those of values to the last bit.
        centred = np.stack([columns[index] - columns[index].mean() for index in members], axis=1)
        drawn = bootstrap_means(centred)
        for place, index in enumerate(members):
            mean = float(columns[index].mean())
            found[index] = [_bca(mean, centred[:, place], drawn[:, place], confidence=part) for part in confidences]
    return found


def _bca(mean: float, deviations: Floats, drawn: Floats, *, confidence: float) -> Interval:
    # Bootstrap means equal to the observed mean count half to either side.
    bias = float(ndtri((np.mean(drawn < 0) + np.mean(drawn <= 0)) / 2))
    speed = float(np.sum(deviations**3)) / (6 * float(np.sum(deviations**2)) ** 1.5)
    ends = bias + ndtri([(1 - confidence) / 2, (1 + confidence) / 2])
    low, high = np.quantile(drawn, ndtr(bias + ends / (1 - speed * ends)))
    return Interval(mean + float(low), mean + float(high))


def bootstrap_means(values: Floats) -> Floats:
    """Means of ``DRAWS`` resamples of the rows with replacement, (DRAWS, k); all columns share the draws."""
    n = len(values)
    source = philox_stream("bootstrap")
    means, rows = np.empty((DRAWS, values.shape[1])), max(1, _BLOCK // n)
    for start in range(0, DRAWS, rows):
        count = min(rows, DRAWS - start)
        places = scale_to_integers(n, source.random_raw(count * n)) + np.repeat(np.arange(count) * n, n)
        times = np.bincount(places, minlength=count * n).reshape(count, n)
        means[start : start + count] = times.astype(np.float64) @ values / n
    return means
