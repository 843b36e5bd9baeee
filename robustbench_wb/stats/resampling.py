"""Tests and intervals that assume no form of the values: signs flipped, samples drawn again. Counted randomness.

The random words are those of streams named by their use (:mod:`robustbench_wb.streams`). What is found for one column
of values does not depend on the columns beside it.
"""

from collections.abc import Iterator, Sequence
from math import inf
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from robustbench_wb.stats.intervals import Interval
from robustbench_wb.streams import philox_stream, scale_to_integers

Floats = NDArray[np.float64]

FLIPS: Final = 9_999
"""Random sign patterns of a test; with the observed one, p-values are multiples of 1/10,000."""
DRAWS: Final = 2_000
"""Bootstrap samples of an interval."""
_EXACT: Final = 13
"""Up to so many values that are not 0, all sign patterns are fewer than :data:`FLIPS`, and all are tried."""
_BLOCK: Final = 1 << 21
"""Numbers held at once while bootstrap samples are drawn."""


def sign_flip_p(columns: Sequence[Floats]) -> list[float]:
    """Two-sided p-value of the paired permutation test, for each column of differences.

    Were old and new exchangeable within every pair, each difference could as well have the other sign: p is the share
    of sign patterns whose sum is at least as far from 0 as the observed one (Fisher 1935, The Design of Experiments,
    section 21). Values of 0 say nothing. Up to 13 others all patterns are tried, so that p is exact; for differences
    of +-1 it is then McNemar's. Beyond, random ones: (1 + as extreme) / (1 + :data:`FLIPS`) (Phipson & Smyth 2010,
    Statistical Applications in Genetics and Molecular Biology 9, 39). No such p is below 1/10,000, which in a large
    family could never be significant: when Hoeffding's bound of the exact p, 2 exp(-S^2 / (2 sum d^2)) (1963, Journal
    of the American Statistical Association 58, 13-30), is below that, p is the bound.

    Args:
        columns: (n,) finite differences each; one per independent unit, like the sum over the cells of one sample.
    """
    values = [column[column != 0] for column in columns]
    found = [_at_once(value) for value in values]
    open_ones = [index for index, p in enumerate(found) if p < 0]
    for index, p in zip(open_ones, _random_patterns([values[index] for index in open_ones]), strict=True):
        found[index] = p
    return found


def _at_once(values: Floats) -> float:
    """The p-value that needs no random patterns; below 0 where there is none."""
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
    """Whether the sums are as far from 0 as the observed one; ``kept`` sums the values whose sign stays."""
    total = values.sum()
    extreme: NDArray[np.bool_] = np.abs(2 * kept - total) >= abs(total) - 1e-9 * np.abs(values).sum()
    return extreme


def _random_patterns(columns: Sequence[Floats]) -> list[float]:
    longest = max(map(len, columns), default=0)
    padded = np.zeros((longest, len(columns)))
    for index, column in enumerate(columns):
        padded[: len(column), index] = column
    kept, words = np.zeros((FLIPS, len(columns))), _words("sign flips")
    # 64 values at a time, each with its own words: a longer column beside it changes no sign of a shorter one.
    for start in range(0, longest, 64):
        signs = np.unpackbits(next(words).view(np.uint8).reshape(FLIPS, 8), axis=1, bitorder="little")
        part = padded[start : start + 64]
        kept += signs[:, : len(part)].astype(np.float64) @ part
    return [_p(kept[:, index], column) for index, column in enumerate(columns)]


def _p(kept: Floats, values: Floats) -> float:
    return (1 + int(np.count_nonzero(_as_extreme(kept, values)))) / (1 + FLIPS)


def _words(label: str) -> Iterator[NDArray[np.uint64]]:
    """Endless batches of :data:`FLIPS` random 64-bit words in little-endian order."""
    source = philox_stream(label)
    while True:
        yield source.random_raw(FLIPS).astype("<u8")


def bca_intervals(columns: Sequence[Floats], confidences: Sequence[float]) -> list[list[Interval]]:
    """Bias-corrected and accelerated bootstrap intervals of means: for each column, one per confidence.

    Efron (1987), Journal of the American Statistical Association 82, 171-185: percentiles of :data:`DRAWS` bootstrap
    means, moved by the bias z0 of their median and by the acceleration a, of a mean the sum of the cubed deviations
    over 6 times the 3/2 power of the sum of the squared ones.

    Args:
        columns: (n,) finite numbers each, one per independent unit.
        confidences: coverages aimed at, above 0 and below 1.

    Returns:
        The intervals; (-inf, inf) for fewer than two values, and the mean alone when there is no scatter.

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
        # Of the deviations, so that the intervals of -values mirror those of values to the last bit.
        centred = np.stack([columns[index] - columns[index].mean() for index in members], axis=1)
        drawn = _bootstrap_means(centred)
        for place, index in enumerate(members):
            mean = float(columns[index].mean())
            found[index] = [_bca(mean, centred[:, place], drawn[:, place], part) for part in confidences]
    return found


def _bca(mean: float, deviations: Floats, drawn: Floats, confidence: float) -> Interval:
    # Bootstrap means that equal the observed one count half to either side.
    bias = float(norm.ppf((np.mean(drawn < 0) + np.mean(drawn <= 0)) / 2))
    speed = float(np.sum(deviations**3)) / (6 * float(np.sum(deviations**2)) ** 1.5)
    ends = bias + norm.ppf([(1 - confidence) / 2, (1 + confidence) / 2])
    low, high = np.quantile(drawn, norm.cdf(bias + ends / (1 - speed * ends)))
    return Interval(mean + float(low), mean + float(high))


def _bootstrap_means(values: Floats) -> Floats:
    """Means of :data:`DRAWS` samples of the rows with replacement, (DRAWS, k); all columns are drawn together."""
    n = len(values)
    source = philox_stream("bootstrap")
    means, rows = np.empty((DRAWS, values.shape[1])), max(1, _BLOCK // n)
    for start in range(0, DRAWS, rows):
        count = min(rows, DRAWS - start)
        places = scale_to_integers(n, source.random_raw(count * n)) + np.repeat(np.arange(count) * n, n)
        times = np.bincount(places, minlength=count * n).reshape(count, n)
        means[start : start + count] = times.astype(np.float64) @ values / n
    return means
