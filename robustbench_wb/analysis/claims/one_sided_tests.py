"""One-sided p-values of a difference against a limit, for one cell or for the mean of several cells."""

from collections.abc import Sequence
from typing import NamedTuple

from robustbench_wb.analysis.compare.overall import ClusteredOutcomes, CrossedSeeds, SubjectEvidence, cross_seeds
from robustbench_wb.stats.paired import p_drop_beyond
from robustbench_wb.stats.resampling import sign_flip_p


class OneSidedP(NamedTuple):
    """p-values of the two one-sided alternatives; unjudged samples count against both."""

    above: float
    """p-value of the alternative "above the limit"."""
    below: float
    """p-value of the alternative "below the limit"."""

    @property
    def exchanged(self) -> "OneSidedP":
        """p-values for the difference with the opposite sign."""
        return OneSidedP(self.below, self.above)


def one_sided_p(members: Sequence[SubjectEvidence], limit: float) -> OneSidedP:
    """Test whether the mean difference over a model's cells is above or below a limit.

    Accuracy of one cell: estimated p-value of ``robustbench_wb.stats.paired.p_drop_beyond``. Accuracy of several
    cells: the same function with the effective number of independent outcomes (Rao & Scott 1992); with a limit of 0,
    the sign-flip test of the samples' sums. Losses: sign-flip test of the differences minus the limit. Several seeds:
    level at which the interval over seeds and samples touches the limit.

    Args:
        members: evidence of each seed; at least one seed has different records on the two sides.
        limit: a share above -1 and below 1 for accuracy, in nats per token for perplexity.
    """
    if len(members) > 1 and (cases := cross_seeds(members)) is not None:
        return OneSidedP(_crossed(cases[0], limit), 1 - _crossed(cases[1], limit))
    evidence = members[0]
    if evidence.pairs[0].metric == "perplexity":
        return _flipped(evidence, limit)
    if limit == 0 and evidence.cells > 1:
        return _flipped(evidence, limit)
    worst, best = evidence.worst, evidence.best
    return OneSidedP(
        above=_beyond(worst, lost=worst.gained, gained=worst.lost, margin=limit),
        below=_beyond(best, lost=best.lost, gained=best.gained, margin=-limit),
    )


def _beyond(case: ClusteredOutcomes, *, lost: float, gained: float, margin: float) -> float:
    n = round(case.effective)
    # With one cell the counts are whole numbers; rounding keeps 0 losses exactly 0.
    losses, gains = (round(n * share, 6) for share in (lost, gained))
    return float(p_drop_beyond(n, losses, gains, margin=margin)[0])


def _flipped(evidence: SubjectEvidence, limit: float) -> OneSidedP:
    worst, best = evidence.worst.clusters - limit, evidence.best.clusters - limit
    ps = sign_flip_p([worst, best])
    above, below = (p / 2 if sign > 0 else 1 - p / 2 for p, sign in zip(ps, (worst.sum(), -best.sum()), strict=True))
    return OneSidedP(above, below)


def _crossed(case: CrossedSeeds, limit: float) -> float:
    """One-sided p-value of the alternative "above the limit"."""
    half = case.level_at(limit) / 2
    return half if case.mean > limit else 1 - half
