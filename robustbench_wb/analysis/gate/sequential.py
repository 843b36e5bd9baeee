"""Sequential decisions: stored samples are looked at one after the other, until a cell or model is decided."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.analysis.compare.compare_tables import pair_outcomes
from robustbench_wb.analysis.compare.comparison import Comparison, OverallDifference
from robustbench_wb.analysis.compare.overall import cluster_by_sample
from robustbench_wb.records.record import Record
from robustbench_wb.spec import Spec
from robustbench_wb.stats.multiplicity import holm
from robustbench_wb.stats.sequential import anytime_p, log_evidence, sample_order

Floats = NDArray[np.float64]
Scope = Literal["population", "samples"]
"""What a decision is about: all samples like the stored ones, or the stored ones themselves."""
SequentialOutcome = Literal["regressed", "passed", "undecided"]

STOPPED: Final[Mapping[SequentialOutcome, str]] = {
    "regressed": "the drop exceeds the margin",
    "passed": "the drop is smaller than the margin",
    "undecided": "no samples are left",
}
"""Reason of stopping at each outcome."""


class SequentialRule(Spec):
    """How stored samples are looked at."""

    seed: int = 0
    """Seed of the order of the samples."""
    scope: Scope = "population"


class SequentialDecision(Spec):
    """Decision on one cell or model, and the samples that it took."""

    outcome: SequentialOutcome
    used: int
    """Samples that were looked at."""
    p: float
    """p-value of a drop beyond the margin when the look stopped; it holds at every stopping time."""
    adjusted_p: float
    """p-value after Holm's correction for the family, whose other cells are at the same sample or stopped before."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Drops:
    """Drops of the samples of one cell or model: losses minus gains, each between -1 and 1."""

    ids: NDArray[np.int64]
    """(n,) sample ids."""
    least: Floats
    """(n,) drops with every unjudged sample in favour of the version."""
    most: Floats
    """(n,) drops with every unjudged sample against the version; ``least`` if all were judged."""
    margin: float
    """Accepted drop."""
    floor: float = 0.0
    """Noise floor that a regression must exceed in addition."""


def decide_sequentially(family: Sequence[Drops], rule: SequentialRule, alpha: float) -> list[SequentialDecision]:
    """Decide on the cells of a family, each as soon as its samples allow, in one order of samples for all.

    A cell has ``regressed`` at the first sample where "the drop is at most the margin" is rejected: its p-value, which
    holds at every stopping time, is at most ``alpha`` after Holm's correction for the family. It has ``passed`` where
    "the drop is at least the margin" is rejected at ``alpha``, without correction, as in ``decide_gate``. Whenever one
    stops, the probability of a wrong ``regressed`` in the family, and of a wrong ``passed`` of a cell, is at most
    ``alpha``.

    Args:
        family: cells that are corrected together.
        rule: order of the samples, and what the decisions are about.
        alpha: level of either decision.
    """
    paths = [_paths(drops, rule) for drops in family]
    used = [0] * len(family)
    outcome: list[SequentialOutcome] = ["undecided"] * len(family)
    latest, running = [1.0] * len(family), {at for at, (exceeds, _) in enumerate(paths) if len(exceeds)}
    # Nothing happens before the first sample where a p-value is small enough without any correction.
    waits = [min(_first(exceeds, alpha), _first(within, alpha), len(exceeds) - 1) for exceeds, within in paths]
    step = 0
    while running:
        step = max(step, min(waits[at] for at in running))
        for at in running:
            latest[at], used[at] = float(paths[at][0][step]), step + 1
        adjusted = holm(latest) if any(latest[at] <= alpha for at in running) else latest
        for at in sorted(running):
            if adjusted[at] <= alpha and latest[at] <= alpha:
                outcome[at] = "regressed"
            elif paths[at][1][step] <= alpha:
                outcome[at] = "passed"
        step += 1
        running -= {at for at in running if outcome[at] != "undecided" or step == len(paths[at][0])}
    return [
        SequentialDecision(outcome=found, used=count, p=p, adjusted_p=corrected)
        for found, count, p, corrected in zip(outcome, used, latest, holm(latest), strict=True)
    ]


def _first(p: Floats, alpha: float) -> int:
    """First position with a p-value of at most ``alpha``; the number of positions if there is none."""
    found = p <= alpha
    return int(np.argmax(found)) if found.any() else len(p)


def _paths(drops: Drops, rule: SequentialRule) -> tuple[Floats, Floats]:
    """p-values after each sample of a drop that is at most, and of one that is at least, the margin; (n,) each."""
    order = sample_order(drops.ids, rule.seed)
    total = len(order) if rule.scope == "samples" else None
    exceeds = log_evidence(drops.least[order], min(drops.margin + drops.floor, 1 - 1e-9), total=total)
    within = log_evidence(-drops.most[order], -drops.margin, total=total)
    return anytime_p(exceeds), anytime_p(within)


class SequentialLook:
    """Sequential decisions on the accuracies of a comparison.

    Perplexities have no bound and seeds are not samples, so that perplexities and means over several seeds have none.

    Args:
        comparison: the compared tables.
        records: records of both tables by key.
        rule: order of the samples, and what the decisions are about.
        alpha: level of every decision.
    """

    def __init__(
        self, comparison: Comparison, records: Mapping[str, Record], *, rule: SequentialRule, alpha: float
    ) -> None:
        self.comparison, self.rule, self.alpha = comparison, rule, alpha
        self._outcomes = [
            None if pair.n is None or pair.is_same_record or pair.metric != "accuracy" else pair_outcomes(pair, records)
            for pair in comparison.pairs
        ]

    def family(self, members: Sequence[int], floors: Sequence[float]) -> dict[int, SequentialDecision]:
        """Decisions on the cells of a family, by index; without those that cannot be looked at sequentially."""
        drops = {
            index: Drops(
                ids=found.ids,
                least=-found.best.astype(np.float64),
                most=-found.worst.astype(np.float64),
                margin=self.comparison.margin,
                floor=floors[index],
            )
            for index in members
            if (found := self._outcomes[index]) is not None
        }
        return dict(zip(drops, decide_sequentially(list(drops.values()), self.rule, self.alpha), strict=True))

    def model(self, overall: OverallDifference, floor: float) -> SequentialDecision | None:
        """Decision on the mean over the cells of a checkpoint; None if it cannot be looked at sequentially."""
        if overall.unit != "checkpoint" or overall.metric != "accuracy":
            return None
        pairs = self.comparison.pairs
        members = [index for index, pair in enumerate(pairs) if overall.covers(pair.new)]
        outcomes = [self._outcomes[index] for index in members]
        found = cluster_by_sample(overall.seeds[0], [pairs[index] for index in members], outcomes)
        if {len(one.ids) for one in outcomes if one is not None} != {len(found.ids)}:
            return None  # nothing was measured anew, or cells have different samples, which count differently
        least, most = (np.clip(-case.clusters, -1.0, 1.0) for case in (found.best, found.worst))
        whole = Drops(ids=found.ids, least=least, most=most, margin=self.comparison.margin, floor=floor)
        return decide_sequentially([whole], self.rule, self.alpha)[0]
