"""From paired differences to the numbers of a finding, and from those to its verdict. Many at once."""

from collections.abc import Sequence
from math import inf, isinf, log1p
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.analysis.compare.comparison import PairedDifference, Verdict
from robustbench_wb.stats.intervals import Interval
from robustbench_wb.stats.paired import detectable_drop, detectable_shift, tango_interval
from robustbench_wb.stats.resampling import bca_intervals, sign_flip_p

Floats = NDArray[np.float64]


class DiscordantShares(NamedTuple):
    """Changes of right-or-wrong outcomes, one entry per finding: (k,) each."""

    n: Floats
    """Samples; of a claim, the effective number of independent outcomes."""
    lost: Floats
    """How many of ``n`` were lost."""
    gained: Floats
    p: Floats
    """Two-sided."""

    @property
    def difference(self) -> Floats:
        """Gained less lost, as a share of n."""
        return np.divide(self.gained - self.lost, self.n, out=np.zeros_like(self.n), where=self.n > 0)


class DifferenceEstimate(NamedTuple):
    """What :class:`PairedDifference` holds of one difference; ends may be infinite."""

    worst: float
    best: float
    wide: Interval
    narrow: Interval
    p: float
    detectable: float | None

    def fields(self) -> dict[str, Any]:
        """As fields of a :class:`PairedDifference`."""
        ends = (*self.wide, *self.narrow)
        low, high, narrow_low, narrow_high = (None if isinf(end) else end for end in ends)
        return {
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


NO_DIFFERENCE: Final = DifferenceEstimate(0.0, 0.0, Interval(0.0, 0.0), Interval(0.0, 0.0), 1.0, None)
"""Of the same record on both sides: it was measured once, and there is no difference."""


def estimate_shares(worst: DiscordantShares, best: DiscordantShares, alpha: float) -> list[DifferenceEstimate]:
    """Numbers of findings on accuracy. Where all samples were judged the two cases are the same.

    Intervals are Tango's, from the low end of the worst case to the high end of the best. p is that of the case nearer
    to no difference, and 1 when the cases lie on both sides of it: the largest that any outcome of the unjudged
    samples could give.
    """
    if not len(worst.n):
        return []
    ends = []
    for confidence in (1 - alpha, 1 - 2 * alpha):
        low, _ = tango_interval(worst.n, worst.lost, worst.gained, confidence)
        _, high = tango_interval(best.n, best.lost, best.gained, confidence)
        ends += [low, high]
    down, up = worst.difference, best.difference
    p = np.where(up < 0, best.p, np.where(down > 0, worst.p, 1.0))
    changed = [np.divide(case.lost + case.gained, case.n, out=np.zeros_like(case.n), where=case.n > 0)
               for case in (worst, best)]  # fmt: skip
    detectable = detectable_drop(np.minimum(worst.n, best.n), np.minimum(np.maximum(*changed), 1.0), alpha)
    table = np.stack([down, up, *ends, p, detectable], axis=1).tolist()
    return [
        DifferenceEstimate(
            down, up, Interval(low, high), Interval(narrow_low, narrow_high), p, None if drop != drop else drop
        )
        for down, up, low, high, narrow_low, narrow_high, p, drop in table
    ]


def estimate_losses(columns: Sequence[Floats], alpha: float) -> list[DifferenceEstimate]:
    """Numbers of findings on real values, like losses: sign-flipping permutation test, BCa bootstrap intervals.

    So few units that the smallest possible p, 2 / 2^n, is above alpha detect nothing.

    Args:
        columns: (n,) differences of independent units, one column per finding.
        alpha: two-sided level.
    """
    found = []
    intervals = bca_intervals(columns, (1 - alpha, 1 - 2 * alpha))
    for column, (wide, narrow), p in zip(columns, intervals, sign_flip_p(columns), strict=True):
        mean, hopeless = float(column.mean()), 2.0 ** (1 - len(column)) > alpha
        found.append(
            DifferenceEstimate(mean, mean, wide, narrow, p, None if hopeless else detectable_shift(column, alpha))
        )
    return found


def decide_verdict(found: PairedDifference, p: float, margin: float, alpha: float) -> Verdict:
    """The first that holds: ``equivalent`` (the narrow interval lies inside the margin), ``worse`` or ``better`` (``p``
    is at most alpha), ``incomplete`` (the unjudged samples could decide), ``undecided``.

    Equivalence comes first: with enough samples every difference is significant, even one that matters to nobody.

    Args:
        found: a finding with its numbers; whatever verdict it has is not looked at.
        p: adjusted, if it was tested together with others.
        margin: a share of accuracy, or a relative change of perplexity: a factor of 1 + margin either way.
        alpha: level of the tests.
    """
    limit = log1p(margin) if found.metric == "perplexity" else margin
    low = -inf if found.narrow_low is None else found.narrow_low
    high = inf if found.narrow_high is None else found.narrow_high
    if -limit <= low and high <= limit:
        return "equivalent"
    if p <= alpha:
        return "worse" if _is_worse(found) else "better"
    return "incomplete" if found.unjudged else "undecided"


def _is_worse(found: PairedDifference) -> bool:
    """Of a significant finding, whose two cases have one sign."""
    drop = -(found.best or 0.0) if found.metric == "accuracy" else (found.worst or 0.0)
    return drop > 0
