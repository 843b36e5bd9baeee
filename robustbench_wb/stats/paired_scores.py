"""Changes of calibration, detection and mean IoU between two models on the same samples, with paired intervals."""

from itertools import product
from math import sqrt
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.stats.auroc import auroc, placements
from robustbench_wb.stats.calibration import bin_gaps
from robustbench_wb.stats.estimate import Estimate
from robustbench_wb.stats.intervals import Interval
from robustbench_wb.stats.resampling import bca_intervals, bootstrap_means

Floats = NDArray[np.float64]

CLEAR: Final = 2.0
"""Standard errors from 0 beyond which the sign of a bin's gap is taken as known."""


class Answers(NamedTuple):
    """Probability of the predicted class, (N,) in [0, 1], and whether that class is the label, (N,)."""

    confidences: Floats
    correct: NDArray[np.bool_]


class Scores(NamedTuple):
    """Scores of the samples and of their out-of-distribution partners, (n,) finite numbers each."""

    inside: Floats
    outside: Floats


def calibration_change(old: Answers, new: Answers) -> Estimate:
    """Change of the expected calibration error, new minus old, with its 95 % interval over paired samples.

    The interval covers the change of the errors of infinitely many samples. The error is a sum of absolute values,
    which noise makes larger where a bin is calibrated: percentiles of a plain bootstrap do not cover there. Here the
    bootstrap, which draws both models together, gives the noise h of the gaps of the bins, and the directional
    derivative carries it over to the error (Fang & Santos 2019, Review of Economic Studies 86, 377-412): +-h for a gap
    whose sign is known, abs(h) for a gap of 0. A gap within ``CLEAR`` standard errors of 0 may be either, so the
    interval holds those of four cases: the unclear gaps of each model are 0, or are what they seem to be. It is
    cautious: in simulations of 200 and 600 samples it covered all changes, where a single case covered 47 to 95 %.

    Raises:
        ValueError: there are no samples, or the numbers of samples differ.
    """
    n = _pairs(old.correct, new.correct)
    gaps = np.concatenate([bin_gaps(one.confidences, one.correct) for one in (old, new)], axis=1)
    means = gaps.mean(0)
    before, after = np.split(np.abs(means), 2)
    value = float(after.sum() - before.sum())
    if n == 1:
        return Estimate(value, Interval(-1.0, 1.0))
    noise = bootstrap_means(gaps - means)
    clear = np.abs(means) > CLEAR * gaps.std(0, ddof=1) / sqrt(n)
    signed = np.sign(means) * noise
    sides = [np.split(one, 2, axis=1) for one in (signed, np.where(clear, signed, np.abs(noise)))]
    errors = [new.sum(1) - old.sum(1) for (old, _), (_, new) in product(sides, repeat=2)]
    low, high = (value - np.quantile(errors, tail, axis=1) for tail in (0.975, 0.025))
    return Estimate(value, Interval(max(float(low.min()), -1.0), min(float(high.max()), 1.0)))


def brier_change(old: Floats, new: Floats) -> Estimate:
    """Change of the mean Brier score, new minus old, with its BCa bootstrap interval over paired samples at 95 %.

    Args:
        old: Brier score of each sample, (N,) in [0, 2].
        new: Brier score of the same samples.

    Raises:
        ValueError: there are no samples, or the numbers of samples differ.
    """
    _pairs(old, new)
    ((interval,),) = bca_intervals([new - old], [0.95])
    return Estimate(float((new - old).mean()), Interval(max(interval.low, -2.0), min(interval.high, 2.0)))


def auroc_change(old: Scores, new: Scores) -> Estimate:
    """Change of the area under the ROC curve, new minus old, with its 95 % interval over paired samples.

    The interval squares and adds the distances of both areas from the ends of their own intervals, less what the
    correlation of the areas takes away (Zou 2007, Psychological Methods 12, 399-413). The correlation is that of the
    placements of DeLong, DeLong & Clarke-Pearson (1988, Biometrics 44, 837-845). A bootstrap would give an empty
    interval where both areas are 1.

    Args:
        old: scores of one model.
        new: scores of the same samples and partners by the other model.

    Raises:
        ValueError: there are no samples, or the numbers of samples differ.
    """
    _pairs(old.inside, new.inside)
    before, after = (auroc(one.inside, one.outside) for one in (old, new))
    influences = [placements(one.inside, one.outside) - placements(one.outside, one.inside) for one in (old, new)]
    spread = [float(np.std(one)) for one in influences]
    shared = float(np.mean((influences[0] - influences[0].mean()) * (influences[1] - influences[1].mean())))
    correlation = shared / (spread[0] * spread[1]) if min(spread) > 0 else 0.0
    value = after.value - before.value
    down = _root(after.value - after.interval.low, before.interval.high - before.value, correlation)
    up = _root(after.interval.high - after.value, before.value - before.interval.low, correlation)
    return Estimate(value, Interval(max(value - down, -1.0), min(value + up, 1.0)))


def _root(one: float, other: float, correlation: float) -> float:
    return sqrt(max(one**2 + other**2 - 2 * correlation * one * other, 0.0))


def _pairs(old: NDArray[np.generic], new: NDArray[np.generic]) -> int:
    """Number of paired samples."""
    if not len(old) or len(old) != len(new):
        raise ValueError(f"a change needs pairs, not {len(old)} and {len(new)} samples")
    return len(old)
