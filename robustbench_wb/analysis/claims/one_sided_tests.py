"""One-sided p-values of a difference against a limit, of one cell or of the mean of several."""

from collections.abc import Sequence
from typing import NamedTuple

from robustbench_wb.analysis.compare.overall import ClusteredOutcomes, CrossedSeeds, SubjectEvidence, cross_seeds
from robustbench_wb.stats.paired import p_drop_beyond
from robustbench_wb.stats.resampling import sign_flip_p


class OneSidedP(NamedTuple):
    """p-values of the two alternatives. What was not judged counts against each of them."""

    above: float
    below: float

    @property
    def exchanged(self) -> "OneSidedP":
        """Of the difference with the opposite sign."""
        return OneSidedP(self.below, self.above)


def one_sided_p(members: Sequence[SubjectEvidence], limit: float) -> OneSidedP:
    """Is the mean difference of a subject's cells above or below a limit?

    Accuracies: the estimated p-value of :func:`robustbench_wb.stats.paired.p_drop_beyond`; of the mean of several cells with
    the effective number of independent outcomes (Rao & Scott 1992), and against 0 the sign-flip test of the samples'
    sums. Losses: the sign-flip test of the differences less the limit. Several seeds: the level
    at which the interval over seeds and samples touches the limit.

    Args:
        members: what is known of each seed; not all of them have the same records on both sides.
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
    return OneSidedP(_beyond(worst, worst.gained, worst.lost, limit), _beyond(best, best.lost, best.gained, -limit))


def _beyond(case: ClusteredOutcomes, lost: float, gained: float, margin: float) -> float:
    n = round(case.effective)
    # Of one cell they are whole, and 0 losses must not be a hair more.
    losses, gains = (round(n * share, 6) for share in (lost, gained))
    return float(p_drop_beyond(n, losses, gains, margin)[0])


def _flipped(evidence: SubjectEvidence, limit: float) -> OneSidedP:
    worst, best = evidence.worst.clusters - limit, evidence.best.clusters - limit
    ps = sign_flip_p([worst, best])
    above, below = (p / 2 if sign > 0 else 1 - p / 2 for p, sign in zip(ps, (worst.sum(), -best.sum()), strict=True))
    return OneSidedP(above, below)


def _crossed(case: CrossedSeeds, limit: float) -> float:
    half = case.level_at(limit) / 2
    return half if case.mean > limit else 1 - half
