"""Estimates of paired differences, and the verdicts that follow from them. Vectorised over differences."""

from collections.abc import Sequence
from math import inf, isinf, log1p
from typing import Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.analysis.compare.comparison import PairedDifference, Verdict
from robustbench_wb.stats.intervals import Interval
from robustbench_wb.stats.paired import detectable_drop, detectable_shift, tango_interval
from robustbench_wb.stats.resampling import bca_intervals, sign_flip_p

Floats = NDArray[np.float64]
Difference = TypeVar("Difference", bound=PairedDifference)


class DiscordantShares(NamedTuple):
    """Losses and gains of binary outcomes, one entry per difference, (k,) each."""

    n: Floats
    """Number of samples; for an overall difference, the effective number of independent outcomes."""
    lost: Floats
    """Number of losses among ``n``."""
    gained: Floats
    """Number of gains among ``n``."""
    p: Floats
    """Two-sided p-value."""

    @property
    def difference(self) -> Floats:
        """(gained - lost) / n, and 0 without samples; (k,)."""
        return np.divide(self.gained - self.lost, self.n, out=np.zeros_like(self.n), where=self.n > 0)


class DifferenceEstimate(NamedTuple):
    """Numbers of one ``PairedDifference``; open ends are infinite."""

    worst: float
    best: float
    wide: Interval
    """1 - alpha interval."""
    narrow: Interval
    """1 - 2 alpha interval."""
    p: float
    """Two-sided p-value."""
    detectable: float | None
    """Minimum detectable effect; None if unknown."""

    def added_to(self, difference: Difference) -> Difference:
        """Copy of a difference with these numbers; open ends become None."""
        ends = (*self.wide, *self.narrow)
        low, high, narrow_low, narrow_high = (None if isinf(end) else end for end in ends)
        numbers = {
            "difference": self.best if self.worst == self.best else None,
            "worst": self.worst,
            "best": self.best,
            "low": low,
            "high": high,
            "narrow_low": narrow_low,
            "narrow_high": narrow_high,
            "p": self.p,
            "detectable_drop": self.detectable,
        }
        return difference.model_copy(update=numbers)


NO_DIFFERENCE: Final = DifferenceEstimate(
    worst=0.0, best=0.0, wide=Interval(0.0, 0.0), narrow=Interval(0.0, 0.0), p=1.0, detectable=None
)
"""Estimate for one record on both sides: it was measured once, so the difference is exactly 0."""


def estimate_shares(worst: DiscordantShares, best: DiscordantShares, alpha: float) -> list[DifferenceEstimate]:
    """Estimates of differences in accuracy.

    Intervals are Tango's, from the low end of the worst case to the high end of the best case. p is that of the case
    nearer to no difference, and 1 if the two cases have different signs: the largest p-value that any outcome of the
    unjudged samples could give.

    Args:
        worst: counts with every unjudged sample in favour of the old side.
        best: counts with every unjudged sample in favour of the new side; equal to ``worst`` if all were judged.
        alpha: two-sided level.
    """
    if not len(worst.n):
        return []
    ends = []
    for confidence in (1 - alpha, 1 - 2 * alpha):
        low, _ = tango_interval(worst.n, worst.lost, worst.gained, confidence=confidence)
        _, high = tango_interval(best.n, best.lost, best.gained, confidence=confidence)
        ends += [low, high]
    down, up = worst.difference, best.difference
    p = np.where(up < 0, best.p, np.where(down > 0, worst.p, 1.0))
    changed = [np.divide(case.lost + case.gained, case.n, out=np.zeros_like(case.n), where=case.n > 0)
               for case in (worst, best)]  # fmt: skip
    detectable = detectable_drop(np.minimum(worst.n, best.n), np.minimum(np.maximum(*changed), 1.0), alpha)
    table = np.stack([down, up, *ends, p, detectable], axis=1).tolist()
    return [
        DifferenceEstimate(
            worst=down,
            best=up,
            wide=Interval(low, high),
            narrow=Interval(narrow_low, narrow_high),
            p=p,
            detectable=None if drop != drop else drop,
        )
        for down, up, low, high, narrow_low, narrow_high, p, drop in table
    ]


def estimate_losses(columns: Sequence[Floats], alpha: float) -> list[DifferenceEstimate]:
    """Estimates of differences in real values, like losses: sign-flip permutation test and BCa bootstrap intervals.

    With so few units that the smallest possible p-value, 2 / 2^n, is above alpha, no effect is detectable.

    Args:
        columns: (n,) differences of independent units, one column per estimate.
        alpha: two-sided level.
    """
    found = []
    intervals = bca_intervals(columns, (1 - alpha, 1 - 2 * alpha))
    for column, (wide, narrow), p in zip(columns, intervals, sign_flip_p(columns), strict=True):
        mean, hopeless = float(column.mean()), 2.0 ** (1 - len(column)) > alpha
        detectable = None if hopeless else detectable_shift(column, alpha)
        found.append(DifferenceEstimate(worst=mean, best=mean, wide=wide, narrow=narrow, p=p, detectable=detectable))
    return found


def decide_verdict(difference: PairedDifference, p: float, *, margin: float, alpha: float) -> Verdict:
    """Verdict on an estimated difference, the first of these that applies.

    ``equivalent``: the 1 - 2 alpha interval lies inside the margin. ``worse`` or ``better``: ``p`` is at most alpha.
    ``incomplete``: unjudged samples could decide. ``undecided``: otherwise. Equivalence comes first, because with
    enough samples every difference is significant, even one too small to matter.

    Args:
        difference: the estimate; its present verdict is ignored.
        p: two-sided p-value, adjusted if it was tested together with others.
        margin: a share of accuracy, or a relative change of perplexity (a factor of 1 + margin in either direction).
        alpha: level of the tests.
    """
    limit = log1p(margin) if difference.metric == "perplexity" else margin
    low = -inf if difference.narrow_low is None else difference.narrow_low
    high = inf if difference.narrow_high is None else difference.narrow_high
    if -limit <= low and high <= limit:
        return "equivalent"
    if p <= alpha:
        return "worse" if _is_worse(difference) else "better"
    return "incomplete" if difference.unjudged else "undecided"


def _is_worse(difference: PairedDifference) -> bool:
    """Whether a significant difference is a drop; its worst and best case then have one sign."""
    drop = -(difference.best or 0.0) if difference.metric == "accuracy" else (difference.worst or 0.0)
    return drop > 0
