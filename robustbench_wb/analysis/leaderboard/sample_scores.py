"""What the samples of one subject amount to over all cells of its panel: one number per sample, a cluster."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isinf

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.analysis.compare.overall import ClusteredOutcomes
from robustbench_wb.analysis.row_order import counts_in_score
from robustbench_wb.analysis.score import perplexity_of
from robustbench_wb.records.record import Record, State
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.stats.intervals import Interval, mean_interval, wilson

Floats = NDArray[np.float64]
CellKey = tuple[str, str]
"""Stressor and strength."""


@dataclass(frozen=True, eq=False)
class SampleScores:
    """The samples of one subject in one panel."""

    values: Floats | None
    """(n,) by ascending sample id; their mean is the score: the accuracy, or the mean loss over the cells that count.
    None where they are not known."""
    origin: tuple[str, str, int] | None
    """Digests of the data and of the ids, and how many these are; None where no cell counts, and all values are 0."""
    counted: frozenset[CellKey]
    reason: str = ""
    """Why there are no values."""


def sample_scores(rows: Sequence[ScoreRow], cells: int, records: Mapping[str, Record]) -> SampleScores:
    """Cluster the cells of one subject by sample.

    Args:
        rows: of one subject and panel.
        cells: how many the panel has. Those that do not count are accuracies of 0 for every sample.
        records: by key.
    """
    counting = [row for row in rows if counts_in_score(row)]
    keys = frozenset((row.stressor, row.strength) for row in counting)
    if not counting:
        return SampleScores(None, None, keys, "no cell counts")
    origins = sorted({(row.data, row.samples, row.n) for row in counting})
    found = [records.get(row.key) for row in counting]
    known = [record for record in found if record is not None]
    if len(origins) > 1:
        return SampleScores(None, None, keys, "its cells were measured on different samples")
    if len(known) < len(counting):
        lacking = f"{len(counting) - len(known)} of {len(counting)} records"
        return SampleScores(None, None, keys, f"the outcomes of its samples are not at hand: {lacking} are missing")
    if counting[0].metric == "accuracy":
        weight = 1 / cells
        parts = [(record.states == State.ROBUST).astype(np.float64) for record in known]
    else:
        weight = 1 / len(counting)
        parts = [record.token_losses for record in known]
    ids = np.unique(np.concatenate([record.ids for record in known]))
    values = np.zeros(max(len(ids), counting[0].n))  # who is named by no record was not run
    for record, part in zip(known, parts, strict=True):
        values[np.searchsorted(ids, record.ids)] += weight * part
    return SampleScores(values, origins[0], keys)


def sample_score_interval(found: SampleScores, cells: int, accuracy: bool) -> Interval | None:
    """95 % interval of the score; an open end of a perplexity is infinite. None where the samples are not known.

    Of accuracies Wilson's, with as many trials as independent outcomes would have the variance that the clusters have
    (Rao & Scott 1992, see :class:`.overall.ClusteredOutcomes`): for one cell that of its row.
    Of perplexities exp of the t interval over the samples.
    """
    if found.values is None:
        return None
    if not accuracy:
        _, (low, high) = mean_interval(found.values)
        return Interval(perplexity_of(low), inf if isinf(high) else perplexity_of(high))
    share = len(found.counted) / cells
    values = found.values / share
    mean = min(float(values.mean()), 1.0)
    trials = ClusteredOutcomes(values, 0.0, mean, len(values) * len(found.counted)).effective
    low, high = wilson(min(mean * trials, trials), trials)
    return Interval(share * low, share * high)
