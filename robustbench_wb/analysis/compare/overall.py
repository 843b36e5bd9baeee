"""Claims about subjects: one endpoint over all their cells, of a checkpoint or, over several seeds, an architecture."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp, hypot, inf, sqrt
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from robustbench_wb.analysis.compare.comparison import CellDifference, OverallDifference
from robustbench_wb.analysis.compare.paired_outcomes import PairedOutcomes
from robustbench_wb.analysis.compare.verdicts import (
    NO_DIFFERENCE,
    DifferenceEstimate,
    DiscordantShares,
    decide_verdict,
    estimate_losses,
    estimate_shares,
)
from robustbench_wb.stats.intervals import Interval
from robustbench_wb.stats.paired import tango_interval
from robustbench_wb.stats.resampling import sign_flip_p

Floats = NDArray[np.float64]
ModelGroup = tuple[str, str, str, str, str, str]
"""Task, suite, scale, variant, size, recipe."""


@dataclass(frozen=True, eq=False)
class ClusteredOutcomes:
    """The outcomes of a subject's cells, clustered by sample, in the worst or the best case."""

    clusters: Floats
    """(N,) each sample's part of the endpoint, which is their mean."""
    lost: float
    """Share of lost samples, mean over the cells."""
    gained: float
    outcomes: int
    """Pairs of outcomes in all cells, those of the same records included."""

    @property
    def effective(self) -> float:
        """How many independent outcomes would give the mean the variance that the clusters give it.

        Rao & Scott (1992), Biometrics 48, 577-585. The number of samples, when all cells of a sample change together,
        up to that of outcomes, when they do so independently. Without any change the former: nothing is known of the
        dependence.
        """
        single = self.lost + self.gained - (self.gained - self.lost) ** 2
        if single < 1e-12:
            return float(len(self.clusters))
        variance = float(np.var(self.clusters)) / len(self.clusters)
        return min(single / variance, float(self.outcomes)) if variance > 0 else float(self.outcomes)


@dataclass(frozen=True, eq=False)
class SubjectEvidence:
    """What is known of one checkpoint: the cells that were compared."""

    seed: int
    pairs: tuple[CellDifference, ...]
    """All that stand in both tables."""
    ids: NDArray[np.int64]
    """(N,) source samples, ascending."""
    worst: ClusteredOutcomes
    best: ClusteredOutcomes
    cells: int


def cluster_by_sample(
    seed: int, pairs: Sequence[CellDifference], outcomes: Sequence[PairedOutcomes | None]
) -> SubjectEvidence:
    """Cluster the cells of one subject by sample; every cell counts alike.

    Args:
        seed: the subject's.
        pairs: its cells.
        outcomes: of each pair; None where nothing was paired. That is a difference of 0 for the same record, else the
            cell is left out.
    """
    same = sum(pair.worst is not None for pair, found in zip(pairs, outcomes, strict=True) if found is None)
    tested = [found for found in outcomes if found is not None]
    cells = same + len(tested)
    ids, places = _places([found.ids for found in tested])
    worst = _case([found.worst for found in tested], places, len(ids), cells)
    complete = all(found.worst is found.best for found in tested)
    best = worst if complete else _case([found.best for found in tested], places, len(ids), cells)
    return SubjectEvidence(seed, tuple(pairs), ids, worst, best, cells)


def _places(cells: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.int64], list[NDArray[np.int64]]]:
    """All samples of some cells, and where among them those of each cell are.

    Samples that a cell was asked for and no record of it names are those that a complete cell of as many has besides.
    """
    complete = [ids for ids in cells if len(ids) and ids[0] >= 0]
    named = [_named(ids, complete) for ids in cells]
    first = named[0] if named else np.empty(0, dtype=np.int64)
    if all(np.array_equal(ids, first) for ids in named):
        return np.sort(first), [np.argsort(np.argsort(first))] * len(named)
    every = np.unique(np.concatenate(named))
    return every, [np.searchsorted(every, ids) for ids in named]


def _named(ids: NDArray[np.int64], complete: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    nameless = int(np.count_nonzero(ids < 0))
    for others in complete if nameless else ():
        rest = np.setdiff1d(others, ids[nameless:])
        if len(rest) == nameless:
            return np.concatenate([rest, ids[nameless:]])
    return ids


def _case(
    differences: Sequence[Floats], places: Sequence[NDArray[np.int64]], count: int, cells: int
) -> ClusteredOutcomes:
    clusters, lost, gained = np.zeros(count), 0.0, 0.0
    for values, place in zip(differences, places, strict=True):
        clusters[place] += values * (count / (cells * len(values)))
        lost += float(np.mean(values < 0)) / cells
        gained += float(np.mean(values > 0)) / cells
    return ClusteredOutcomes(clusters, lost, gained, count * cells)


def overall_differences(
    groups: dict[ModelGroup, list[SubjectEvidence]], margin: float, alpha: float
) -> list[OverallDifference]:
    """A claim about each checkpoint and, of several seeds, one about their architecture before them.

    Each is an endpoint of its own, declared before anything was seen, and is not corrected for the others.
    """
    found: list[OverallDifference] = []
    singles = [evidence for members in groups.values() for evidence in members]
    numbers = dict(zip(map(id, singles), _checkpoints(singles, alpha), strict=True))
    for group, members in groups.items():
        seeds = [evidence for evidence in members if numbers[id(evidence)] is not None]
        if len(seeds) > 1:
            found.append(_claim("architecture", group, seeds, architecture_numbers(seeds, alpha), margin, alpha))
        found += [_claim("checkpoint", group, [one], numbers[id(one)], margin, alpha) for one in members]
    return found


def _claim(
    unit: Literal["checkpoint", "architecture"],
    group: ModelGroup,
    members: Sequence[SubjectEvidence],
    numbers: DifferenceEstimate | None,
    margin: float,
    alpha: float,
) -> OverallDifference:
    pairs = [pair for evidence in members for pair in evidence.pairs]
    cells = min(evidence.cells for evidence in members)
    task, suite, scale, variant, size, recipe = group
    fields: dict[str, Any] = {
        "unit": unit, "task": task, "suite": suite, "scale": scale, "variant": variant, "size": size, "recipe": recipe,
        "seeds": tuple(evidence.seed for evidence in members), "metric": pairs[0].metric,
        "cells": cells, "left_out": len(pairs) - sum(evidence.cells for evidence in members),
        "samples": len(members[0].ids), "unjudged": sum(pair.unjudged for pair in pairs),
    }  # fmt: skip
    if numbers is None:
        refused = bool(pairs) and all(pair.verdict == "not comparable" for pair in pairs)
        reason = "no cell could be compared" if not cells else "a cell has samples without a loss, which has no bound"
        return OverallDifference(**fields, verdict="not comparable" if refused else "incomplete", reason=reason)
    if numbers is NO_DIFFERENCE:
        return OverallDifference(**fields, **numbers.fields(), verdict="equivalent", reason="the same records")
    claim = OverallDifference(**fields, **numbers.fields(), verdict="undecided")
    return claim.model_copy(update={"verdict": decide_verdict(claim, numbers.p, margin, alpha)})


def _checkpoints(members: Sequence[SubjectEvidence], alpha: float) -> list[DifferenceEstimate | None]:
    """The numbers of each checkpoint; None where nothing can be said."""
    found: list[DifferenceEstimate | None] = [
        NO_DIFFERENCE if one.cells and not len(one.ids) and not _unbounded(one) else None for one in members
    ]
    open_ones = [index for index, one in enumerate(members) if len(one.ids) and not _unbounded(one)]
    shares = [index for index in open_ones if members[index].pairs[0].metric == "accuracy"]
    worst = _shares([members[index].worst for index in shares])
    complete = all(members[index].worst is members[index].best for index in shares)
    best = worst if complete else _shares([members[index].best for index in shares])
    losses = [index for index in open_ones if index not in shares]
    for index, numbers in zip(shares, estimate_shares(worst, best, alpha), strict=True):
        found[index] = numbers
    for index, numbers in zip(
        losses, estimate_losses([members[at].worst.clusters for at in losses], alpha), strict=True
    ):
        found[index] = numbers
    return found


def _unbounded(evidence: SubjectEvidence) -> bool:
    """Whether a cell of losses lacks samples: a missing loss could be anything."""
    return any(
        pair.metric == "perplexity" and pair.verdict == "incomplete" and {pair.old.status, pair.new.status} != {"ok"}
        for pair in evidence.pairs
    )


def _shares(cases: Sequence[ClusteredOutcomes]) -> DiscordantShares:
    effective = np.array([case.effective for case in cases])
    lost, gained = (np.array([getattr(case, name) for case in cases]) * effective for name in ("lost", "gained"))
    return DiscordantShares(effective, lost, gained, np.array(sign_flip_p([case.clusters for case in cases])))


def architecture_numbers(members: Sequence[SubjectEvidence], alpha: float) -> DifferenceEstimate:
    """Seeds and samples are both drawn, and crossed: every seed is measured on the same samples.

    Each has its part in the error of the mean: the scatter of the seeds' means, and that of the samples' means. As
    variances they add up to what a bootstrap that draws seeds and, independently, samples estimates (Owen 2007, The
    pigeonhole bootstrap, Annals of Applied Statistics 1, 386-411). Its percentiles know too little of few seeds; here
    the reach of the interval is the root of the squared reaches of the two parts, with S - 1 degrees of freedom for S
    seeds (Howe 1974, Journal of the American Statistical Association 69, 789-794). p is the level at which the
    interval touches 0.
    """
    cases = cross_seeds(members)
    if cases is None:
        return NO_DIFFERENCE
    worst, best = cases
    wide, narrow = (Interval(worst.interval(level).low, best.interval(level).high) for level in (alpha, 2 * alpha))
    p = best.level_at(0.0) if best.mean < 0 else worst.level_at(0.0) if worst.mean > 0 else 1.0
    return DifferenceEstimate(worst.mean, best.mean, wide, narrow, p, worst.detectable(alpha) or None)


def cross_seeds(members: Sequence[SubjectEvidence]) -> "tuple[CrossedSeeds, CrossedSeeds] | None":
    """Several seeds in the worst and in the best case; None when all of them have the same records on both sides."""
    ids = next((evidence.ids for evidence in members if len(evidence.ids)), None)
    if ids is None:
        return None
    # A seed whose records are the same on both sides has a difference of 0 on every sample.
    members = [one if len(one.ids) else _unchanged(one, ids) for one in members]
    return CrossedSeeds(members, "worst"), CrossedSeeds(members, "best")


class CrossedSeeds:
    """Mean over seeds and samples of one case, and the two parts of its error."""

    def __init__(self, members: Sequence[SubjectEvidence], name: Literal["worst", "best"]) -> None:
        cases: list[ClusteredOutcomes] = [getattr(evidence, name) for evidence in members]
        ids = members[0].ids
        for evidence in members[1:]:
            ids = ids if np.array_equal(ids, evidence.ids) else np.intersect1d(ids, evidence.ids)
        rows = [one.clusters[np.isin(evidence.ids, ids)] for one, evidence in zip(cases, members, strict=True)]
        means = np.array([one.clusters.mean() for one in cases])
        self.mean = float(means.mean())
        self.seeds = len(cases)
        self.of_seeds = float(means.std(ddof=1)) / sqrt(self.seeds)
        together = np.mean(rows, axis=0)
        self.samples = len(together)
        self.of_samples = float(together.std(ddof=1)) / sqrt(self.samples) if self.samples > 1 else inf
        self.accuracy = members[0].pairs[0].metric == "accuracy"
        lost, gained = (float(np.mean([getattr(one, side) for one in cases])) for side in ("lost", "gained"))
        self.pooled = ClusteredOutcomes(together, lost, gained, sum(one.outcomes for one in cases))

    def interval(self, level: float) -> Interval:
        """Of confidence 1 - ``level``."""
        seeds = float(t.isf(level / 2, self.seeds - 1)) * self.of_seeds
        down, up = self._reach(level)
        return Interval(self.mean - hypot(down, seeds), self.mean + hypot(up, seeds))

    def _reach(self, level: float) -> tuple[float, float]:
        """How far the samples alone let the mean go, down and up: for accuracies by the score interval, which has a
        reach even when nothing changes."""
        if not self.accuracy:
            reach = float(t.isf(level / 2, max(self.samples - 1, 1))) * self.of_samples
            return reach, reach
        number = self.pooled.effective
        low, high = tango_interval([number], [number * self.pooled.lost], [number * self.pooled.gained], 1 - level)
        estimate = self.pooled.gained - self.pooled.lost
        return estimate - float(low[0]), float(high[0]) - estimate

    def level_at(self, value: float) -> float:
        """The largest level whose interval holds ``value``, by bisection of its logarithm: of 0, the two-sided p."""
        inside, outside = -34.0, 0.0  # 1 less a smaller level is 1
        for _ in range(40):
            middle = (inside + outside) / 2
            low, high = self.interval(exp(middle))
            inside, outside = (middle, outside) if low <= value <= high else (inside, middle)
        return exp(outside)

    def detectable(self, alpha: float) -> float:
        """Smallest drop found with 80 % power, as :func:`robustbench_wb.stats.paired.detectable_shift` of each part."""
        parts = ((self.of_seeds, self.seeds), (self.of_samples, self.samples))
        both = (error * float(t.isf(alpha / 2, n - 1) + t.isf(0.2, n - 1)) for error, n in parts if n > 1)
        return hypot(*both)


def _unchanged(evidence: SubjectEvidence, ids: NDArray[np.int64]) -> SubjectEvidence:
    case = ClusteredOutcomes(np.zeros(len(ids)), 0.0, 0.0, len(ids) * evidence.cells)
    return replace(evidence, ids=ids, worst=case, best=case)
