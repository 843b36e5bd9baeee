"""Overall differences: the mean over all cells of a checkpoint or, with several seeds, of an architecture."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import exp, hypot, inf, sqrt
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit  # scipy.stats, which calls them, takes a second to import

from robustbench_wb.analysis.compare.comparison import CellDifference, OverallDifference
from robustbench_wb.analysis.compare.paired_outcomes import Differences, PairedOutcomes
from robustbench_wb.analysis.compare.verdicts import (
    NO_DIFFERENCE,
    DifferenceEstimate,
    DiscordantShares,
    decide_verdict,
    estimate_losses,
    estimate_shares,
)
from robustbench_wb.stats.crossed_effects import crossed_reach
from robustbench_wb.stats.intervals import Interval
from robustbench_wb.stats.paired import tango_interval
from robustbench_wb.stats.resampling import sign_flip_p

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]


class ModelGroup(NamedTuple):
    """Names shared by the checkpoints of one architecture under one suite: everything but the seed."""

    task: str
    suite: str
    scale: str
    variant: str
    size: str
    recipe: str


@dataclass(frozen=True, eq=False, kw_only=True)
class ClusteredOutcomes:
    """Outcomes of a model's cells, clustered by sample, in the worst or the best case."""

    clusters: Floats
    """(N,) contribution of each sample to the endpoint; their mean is the endpoint."""
    lost: float
    """Share of lost samples, mean over the cells."""
    gained: float
    """Share of gained samples, mean over the cells."""
    outcomes: int
    """Number of pairs of outcomes in all cells, including those of identical records."""

    @property
    def effective(self) -> float:
        """Effective number of independent outcomes: as many as would give the mean the variance of the clusters.

        Rao & Scott (1992), Biometrics 48, 577-585. Between the number of samples, if all cells of a sample change
        together, and the number of outcomes, if they change independently. Without any change it is the number of
        samples, because the dependence is unknown.
        """
        single = self.lost + self.gained - (self.gained - self.lost) ** 2
        if single < 1e-12:
            return float(len(self.clusters))
        variance = float(np.var(self.clusters)) / len(self.clusters)
        return min(single / variance, float(self.outcomes)) if variance > 0 else float(self.outcomes)

    @classmethod
    def of_differences(cls, differences: Floats, cells: int) -> "ClusteredOutcomes":
        """Outcomes from the (N,) paired differences of per-sample means over ``cells`` cells."""
        lost, gained = np.maximum(-differences, 0).mean(), np.maximum(differences, 0).mean()
        return cls(clusters=differences, lost=float(lost), gained=float(gained), outcomes=len(differences) * cells)


@dataclass(frozen=True, eq=False, kw_only=True)
class SubjectEvidence:
    """Compared cells of one checkpoint, clustered by sample."""

    seed: int
    pairs: tuple[CellDifference, ...]
    """All cells that are in both tables."""
    ids: Ids
    """(N,) source sample ids, ascending."""
    worst: ClusteredOutcomes
    best: ClusteredOutcomes
    cells: int
    """Number of compared cells."""


def cluster_by_sample(
    seed: int, pairs: Sequence[CellDifference], outcomes: Sequence[PairedOutcomes | None]
) -> SubjectEvidence:
    """Cluster the cells of one checkpoint by sample, with equal weight for every cell.

    Args:
        seed: seed of the checkpoint.
        pairs: all its cells.
        outcomes: paired samples of each cell. None is a difference of 0 if the cell has one record on both sides;
            otherwise the cell is left out.
    """
    same = sum(pair.worst is not None for pair, found in zip(pairs, outcomes, strict=True) if found is None)
    tested = [found for found in outcomes if found is not None]
    cells = same + len(tested)
    ids, places = _places([found.ids for found in tested])
    worst = _case((found.worst for found in tested), places, count=len(ids), cells=cells)
    complete = not any(found.unjudged for found in tested)
    best = worst if complete else _case((found.best for found in tested), places, count=len(ids), cells=cells)
    return SubjectEvidence(seed=seed, pairs=tuple(pairs), ids=ids, worst=worst, best=best, cells=cells)


def _places(cells: Sequence[Ids]) -> tuple[Ids, list[Ids]]:
    """Union of the sample ids of some cells, ascending, and the positions of each cell's samples in it.

    Requested samples that no record of a cell names get the ids that a complete cell of the same size has in addition.
    """
    complete = [ids for ids in cells if len(ids) and ids[0] >= 0]
    named = [_named(ids, complete) for ids in cells]
    first = named[0] if named else np.empty(0, dtype=np.int64)
    if all(ids is first or np.array_equal(ids, first) for ids in named):
        return np.sort(first), [np.argsort(np.argsort(first))] * len(named)
    every = np.unique(np.concatenate(named))
    return every, [np.searchsorted(every, ids) for ids in named]


def _named(ids: Ids, complete: Sequence[Ids]) -> Ids:
    nameless = int(np.count_nonzero(ids < 0))
    for others in complete if nameless else ():
        rest = np.setdiff1d(others, ids[nameless:])
        if len(rest) == nameless:
            return np.concatenate([rest, ids[nameless:]])
    return ids


def _case(differences: Iterable[Differences], places: Sequence[Ids], *, count: int, cells: int) -> ClusteredOutcomes:
    clusters, lost, gained = np.zeros(count), 0.0, 0.0
    for values, place in zip(differences, places, strict=True):
        clusters[place] += values * (count / (cells * len(values)))
        lost += float(np.mean(values < 0)) / cells
        gained += float(np.mean(values > 0)) / cells
    return ClusteredOutcomes(clusters=clusters, lost=lost, gained=gained, outcomes=count * cells)


def overall_differences(
    groups: dict[ModelGroup, list[SubjectEvidence]], margin: float, alpha: float
) -> list[OverallDifference]:
    """Overall difference of each architecture with several seeds, followed by those of its checkpoints.

    Each difference is an endpoint of its own, fixed before any result is seen, and is not corrected for the others.
    """
    found: list[OverallDifference] = []
    singles = [evidence for members in groups.values() for evidence in members]
    estimates = dict(zip(map(id, singles), _checkpoints(singles, alpha), strict=True))
    for group, members in groups.items():
        seeds = [evidence for evidence in members if estimates[id(evidence)] is not None]
        if len(seeds) > 1:
            estimate = estimate_architecture(seeds, alpha)
            found.append(_overall("architecture", group, seeds, estimate=estimate, margin=margin, alpha=alpha))
        found += [
            _overall("checkpoint", group, [one], estimate=estimates[id(one)], margin=margin, alpha=alpha)
            for one in members
        ]
    return found


def _overall(
    unit: Literal["checkpoint", "architecture"],
    group: ModelGroup,
    members: Sequence[SubjectEvidence],
    *,
    estimate: DifferenceEstimate | None,
    margin: float,
    alpha: float,
) -> OverallDifference:
    pairs = [pair for evidence in members for pair in evidence.pairs]
    cells = min(evidence.cells for evidence in members)
    difference = OverallDifference(
        unit=unit,
        task=group.task,
        suite=group.suite,
        scale=group.scale,
        variant=group.variant,
        size=group.size,
        recipe=group.recipe,
        seeds=tuple(evidence.seed for evidence in members),
        metric=pairs[0].metric,
        cells=cells,
        left_out=len(pairs) - sum(evidence.cells for evidence in members),
        samples=len(members[0].ids),
        unjudged=sum(pair.unjudged for pair in pairs),
        verdict="undecided",
    )
    if estimate is None:
        refused = bool(pairs) and all(pair.verdict == "not comparable" for pair in pairs)
        reason = "no cell could be compared" if not cells else "a cell has samples without a loss, which has no bound"
        verdict = "not comparable" if refused else "incomplete"
        return difference.model_copy(update={"verdict": verdict, "reason": reason})
    if estimate is NO_DIFFERENCE:
        same = {"verdict": "equivalent", "reason": "the same records"}
        return estimate.added_to(difference).model_copy(update=same)
    difference = estimate.added_to(difference)
    verdict = decide_verdict(difference, estimate.p, margin=margin, alpha=alpha)
    return difference.model_copy(update={"verdict": verdict})


def _checkpoints(members: Sequence[SubjectEvidence], alpha: float) -> list[DifferenceEstimate | None]:
    """Estimate for each checkpoint; None without a compared cell, or if missing losses leave it unbounded."""
    found: list[DifferenceEstimate | None] = [
        NO_DIFFERENCE if one.cells and not len(one.ids) and not _unbounded(one) else None for one in members
    ]
    open_ones = [index for index, one in enumerate(members) if len(one.ids) and not _unbounded(one)]
    shares = [index for index in open_ones if members[index].pairs[0].metric == "accuracy"]
    worst = _shares([members[index].worst for index in shares])
    complete = all(members[index].worst is members[index].best for index in shares)
    best = worst if complete else _shares([members[index].best for index in shares])
    losses = [index for index in open_ones if index not in shares]
    for index, estimate in zip(shares, estimate_shares(worst, best, alpha), strict=True):
        found[index] = estimate
    columns = [members[at].worst.clusters for at in losses]
    for index, estimate in zip(losses, estimate_losses(columns, alpha), strict=True):
        found[index] = estimate
    return found


def _unbounded(evidence: SubjectEvidence) -> bool:
    """Whether a perplexity cell lacks samples: a missing loss could have any value."""
    return any(
        pair.metric == "perplexity" and pair.verdict == "incomplete" and {pair.old.status, pair.new.status} != {"ok"}
        for pair in evidence.pairs
    )


def _shares(cases: Sequence[ClusteredOutcomes]) -> DiscordantShares:
    effective = np.array([case.effective for case in cases])
    return DiscordantShares(
        n=effective,
        lost=np.array([case.lost for case in cases]) * effective,
        gained=np.array([case.gained for case in cases]) * effective,
        p=np.array(sign_flip_p([case.clusters for case in cases])),
    )


def estimate_architecture(members: Sequence[SubjectEvidence], alpha: float) -> DifferenceEstimate:
    """Difference of an architecture, with crossed random effects: every seed is measured on the same samples.

    The half widths over seeds and over samples are combined by ``robustbench_wb.stats.crossed_effects``. p is the level
    at which the interval touches 0.

    Args:
        members: evidence of each seed, at least two.
        alpha: two-sided level.
    """
    cases = cross_seeds(members)
    if cases is None:
        return NO_DIFFERENCE
    worst, best = cases
    wide, narrow = (Interval(worst.interval(level).low, best.interval(level).high) for level in (alpha, 2 * alpha))
    p = best.level_at(0.0) if best.mean < 0 else worst.level_at(0.0) if worst.mean > 0 else 1.0
    return DifferenceEstimate(
        worst=worst.mean, best=best.mean, wide=wide, narrow=narrow, p=p, detectable=worst.detectable(alpha) or None
    )


def cross_seeds(members: Sequence[SubjectEvidence]) -> "tuple[CrossedSeeds, CrossedSeeds] | None":
    """Worst and best case over several seeds; None if every seed has identical records on both sides."""
    ids = next((evidence.ids for evidence in members if len(evidence.ids)), None)
    if ids is None:
        return None
    # A seed with identical records on both sides has a difference of 0 on every sample.
    members = [one if len(one.ids) else _unchanged(one, ids) for one in members]
    every, accuracy = [one.ids for one in members], members[0].pairs[0].metric == "accuracy"
    worst = CrossedSeeds([one.worst for one in members], every, accuracy=accuracy)
    return worst, CrossedSeeds([one.best for one in members], every, accuracy=accuracy)


class CrossedSeeds:
    """Mean difference over seeds and samples, with the standard errors of both random effects.

    Args:
        cases: outcomes of each seed, at least two.
        every: (N,) sample ids of each seed, ascending; what varies over samples is estimated on the common ones.
        accuracy: whether the metric is accuracy, else perplexity.
    """

    def __init__(self, cases: Sequence[ClusteredOutcomes], every: Sequence[Ids], *, accuracy: bool) -> None:
        ids = every[0]
        for other in every[1:]:
            ids = ids if np.array_equal(ids, other) else np.intersect1d(ids, other)
        rows = [one.clusters[np.isin(own, ids)] for one, own in zip(cases, every, strict=True)]
        means = np.array([one.clusters.mean() for one in cases])
        self.mean = float(means.mean())
        self.seeds = len(cases)
        self.seed_error = float(means.std(ddof=1)) / sqrt(self.seeds)
        together = np.mean(rows, axis=0)
        self.samples = len(together)
        self.sample_error = float(together.std(ddof=1)) / sqrt(self.samples) if self.samples > 1 else inf
        self.accuracy = accuracy
        self.pooled = ClusteredOutcomes(
            clusters=together,
            lost=float(np.mean([one.lost for one in cases])),
            gained=float(np.mean([one.gained for one in cases])),
            outcomes=sum(one.outcomes for one in cases),
        )

    def interval(self, level: float) -> Interval:
        """Interval of confidence 1 - ``level``."""
        down, up = (
            crossed_reach(reach, seed_error=self.seed_error, seeds=self.seeds, confidence=1 - level)
            for reach in self._reach(level)
        )
        return Interval(self.mean - down, self.mean + up)

    def _reach(self, level: float) -> tuple[float, float]:
        """Half widths of the interval over samples alone, down and up.

        Accuracies use the score interval, whose width is above 0 even without any change."""
        if not self.accuracy:
            reach = -float(stdtrit(max(self.samples - 1, 1), level / 2)) * self.sample_error
            return reach, reach
        number, pooled = self.pooled.effective, self.pooled
        low, high = tango_interval([number], [number * pooled.lost], [number * pooled.gained], confidence=1 - level)
        estimate = pooled.gained - pooled.lost
        return estimate - float(low[0]), float(high[0]) - estimate

    def level_at(self, value: float) -> float:
        """Largest level whose interval contains ``value``, by bisection of its logarithm; at 0, the two-sided p."""
        inside, outside = -34.0, 0.0  # exp(-34) is the smallest level: 1 minus anything smaller rounds to 1
        for _ in range(40):
            middle = (inside + outside) / 2
            low, high = self.interval(exp(middle))
            inside, outside = (middle, outside) if low <= value <= high else (inside, middle)
        return exp(outside)

    def detectable(self, alpha: float) -> float:
        """Minimum detectable drop at 80 % power, from ``robustbench_wb.stats.paired.detectable_shift`` per part."""
        parts = ((self.seed_error, self.seeds), (self.sample_error, self.samples))
        both = (-error * float(stdtrit(n - 1, alpha / 2) + stdtrit(n - 1, 0.2)) for error, n in parts if n > 1)
        return hypot(*both)


def _unchanged(evidence: SubjectEvidence, ids: Ids) -> SubjectEvidence:
    case = ClusteredOutcomes(clusters=np.zeros(len(ids)), lost=0.0, gained=0.0, outcomes=len(ids) * evidence.cells)
    return replace(evidence, ids=ids, worst=case, best=case)
