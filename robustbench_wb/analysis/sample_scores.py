"""Per-sample scores of one model over all cells of its panel: one number, or cluster, per sample."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isinf
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.analysis.compare.overall import ClusteredOutcomes
from robustbench_wb.analysis.row_order import CellKey, cell_key, counts_in_score
from robustbench_wb.analysis.score import perplexity_of
from robustbench_wb.records.record import Record, State
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.stats.intervals import Interval, mean_interval, wilson

Floats = NDArray[np.float64]


class SampleOrigin(NamedTuple):
    """Identity of the evaluated samples; models are paired by sample only if it is equal."""

    data: str
    """Digest of the data."""
    samples: str
    """Digest of the sample ids."""
    n: int
    """Number of requested samples."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SampleScores:
    """Per-sample scores of one model in one panel."""

    values: Floats | None = None
    """(n,) scores by ascending sample id, whose mean is the score of the model: accuracy, or mean loss over the cells
    that count. None if they are unknown."""
    origin: SampleOrigin | None = None
    """Origin of the samples; None if the values are unknown."""
    counted: frozenset[CellKey]
    """Cells that count with their own value."""
    reason: str = ""
    """Reason for unknown values."""


def sample_scores(rows: Sequence[ScoreRow], cells: int, records: Mapping[str, Record]) -> SampleScores:
    """Average the cells of one model by sample.

    Args:
        rows: rows of one model and panel.
        cells: number of cells of the panel; cells that do not count are accuracies of 0 for every sample.
        records: records by key.
    """
    counting = [row for row in rows if counts_in_score(row)]
    keys = frozenset(cell_key(row) for row in counting)
    if not counting:
        return SampleScores(counted=keys, reason="no cell counts")
    origins = sorted({SampleOrigin(data=row.data, samples=row.samples, n=row.n) for row in counting})
    missing = sum(row.key not in records for row in counting)
    if len(origins) > 1:
        return SampleScores(counted=keys, reason="its cells were measured on different samples")
    if missing:
        return SampleScores(counted=keys, reason=f"{missing} of {len(counting)} records are not in the store")
    accuracy = counting[0].metric == "accuracy"
    ids, total = np.empty(0, np.int32), np.zeros(0)
    for row in counting:  # one record at a time: together, those of a large table do not fit into memory
        record = records[row.key]
        ids, total = _add_outcomes(ids, total, record, accuracy=accuracy)
    values = np.zeros(max(len(ids), counting[0].n))  # samples that no record names were not run and score 0
    values[: len(ids)] = total / (cells if accuracy else len(counting))
    return SampleScores(values=values, origin=origins[0], counted=keys)


def _add_outcomes(
    ids: NDArray[np.int32], total: Floats, record: Record, *, accuracy: bool
) -> tuple[NDArray[np.int32], Floats]:
    """Add the outcomes of a record to sums by ascending sample id; samples that it alone names are added."""
    outcomes = record.states == State.ROBUST if accuracy else record.token_losses
    if np.array_equal(ids, record.ids):
        return ids, total + outcomes
    union = np.union1d(ids, record.ids)
    sums = np.zeros(len(union))
    sums[np.searchsorted(union, ids)] = total
    sums[np.searchsorted(union, record.ids)] += outcomes
    return union, sums


def sample_score_interval(scores: SampleScores, cells: int, *, accuracy: bool, seeds: int = 1) -> Interval | None:
    """95 % interval of the score.

    Accuracy: Wilson's interval with the effective number of independent outcomes of the clusters (Rao & Scott 1992, see
    ``overall.ClusteredOutcomes``); for a single cell it is the interval of the row. Perplexity: exp of the t
    interval over the samples.

    Args:
        scores: per-sample scores of the model.
        cells: number of cells of the panel.
        accuracy: whether the metric is accuracy, else perplexity.
        seeds: number of models whose per-sample scores are averaged.

    Returns:
        The interval, with an infinite end if a perplexity is unbounded; None if the per-sample scores are unknown.
    """
    if scores.values is None:
        return None
    if not accuracy:
        _, (low, high) = mean_interval(scores.values)
        return Interval(perplexity_of(low), inf if isinf(high) else perplexity_of(high))
    share = len(scores.counted) / cells
    values = scores.values / share
    mean = min(float(values.mean()), 1.0)
    outcomes = len(values) * len(scores.counted) * seeds
    trials = ClusteredOutcomes(clusters=values, lost=0.0, gained=mean, outcomes=outcomes).effective
    low, high = wilson(min(mean * trials, trials), trials)
    return Interval(share * low, share * high)
