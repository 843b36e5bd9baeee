"""Accuracy or perplexity of one checkpoint over one or several cells, with one-sided p-values against a limit."""

from collections.abc import Mapping, Sequence
from math import log, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtr  # scipy.stats, which calls them, takes a second to import

from robustbench_wb.analysis.claims.one_sided_tests import OneSidedP
from robustbench_wb.analysis.compare.overall import ClusteredOutcomes
from robustbench_wb.records.record import Record, State
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.stats.binomial import binomial
from robustbench_wb.stats.intervals import Interval, mean_interval, wilson

Floats = NDArray[np.float64]


class LevelEstimate(NamedTuple):
    """Accuracy as a share, logarithm of a perplexity, or value or change of a layer measure."""

    worst: float
    """Estimate if every unjudged sample is broken; equal to ``best`` if all were judged."""
    best: float
    """Estimate if every unjudged sample is robust."""
    wide: Interval
    """1 - alpha interval."""
    narrow: Interval
    """1 - 2 alpha interval."""
    n: int
    """Number of samples."""
    p: OneSidedP
    layer: int | None = None
    """Number of the layer, from 1; None for all other estimates."""


def accuracy_level(
    rows: Sequence[ScoreRow], records: Mapping[str, Record], *, limit: float, alpha: float
) -> LevelEstimate | None:
    """Mean accuracy over some cells, tested against a limit.

    One cell uses the exact binomial test and Wilson's interval, and needs its row only. Several cells are clustered by
    sample: Wilson's interval and the score test use the effective number of independent outcomes (Rao & Scott 1992).

    Args:
        rows: cells of one model.
        records: records of the rows, by key.
        limit: accuracy to test against, a share.
        alpha: the intervals have confidence 1 - ``alpha`` and 1 - 2 ``alpha``.

    Returns:
        The estimate; None if the cells were measured on different samples.
    """
    levels = (1 - alpha, 1 - 2 * alpha)
    if len(rows) == 1:
        (row,) = rows
        best = row.n - row.broken - row.wrong
        wide, narrow = (Interval(wilson(row.robust, row.n, one).low, wilson(best, row.n, one).high) for one in levels)
        p = OneSidedP(float(binomial().sf(row.robust - 1, row.n, limit)), float(binomial().cdf(best, row.n, limit)))
        return LevelEstimate(worst=row.robust / row.n, best=best / row.n, wide=wide, narrow=narrow, n=row.n, p=p)
    kept = [records[row.key] for row in rows]
    if not _same_samples(kept):
        return None
    states = np.stack([record.states[np.argsort(record.ids)] for record in kept])
    unknown = (states == State.ERRORED) | (states == State.NOT_RUN)
    down, up = (_case(held) for held in (states == State.ROBUST, (states == State.ROBUST) | unknown))
    wide, narrow = (Interval(_wilson(down, one).low, _wilson(up, one).high) for one in levels)
    p = OneSidedP(float(ndtr(-_score(down, limit))), float(ndtr(_score(up, limit))))
    return LevelEstimate(worst=down.gained, best=up.gained, wide=wide, narrow=narrow, n=states.shape[1], p=p)


def perplexity_level(
    rows: Sequence[ScoreRow], records: Mapping[str, Record], *, limit: float, alpha: float
) -> LevelEstimate | None:
    """Mean logarithm of the perplexity over some cells, tested against a limit by t tests of the samples' mean losses.

    Args:
        rows: cells of one model.
        records: records of the rows, by key.
        limit: perplexity to test against, at least 1.
        alpha: the intervals have confidence 1 - ``alpha`` and 1 - 2 ``alpha``.

    Returns:
        The estimate; None if the cells were measured on different samples.
    """
    kept = [records[row.key] for row in rows]
    if not _same_samples(kept):
        return None
    losses = np.mean([record.token_losses[np.argsort(record.ids)] for record in kept], axis=0)
    mean, wide = mean_interval(losses, 1 - alpha)
    _, narrow = mean_interval(losses, 1 - 2 * alpha)
    error = float(losses.std(ddof=1)) / sqrt(losses.size) if losses.size > 1 else 0.0
    p = float(stdtr(losses.size - 1, -(mean - log(limit)) / error)) if error else 0.5
    return LevelEstimate(worst=mean, best=mean, wide=wide, narrow=narrow, n=losses.size, p=OneSidedP(p, 1 - p))


def _same_samples(records: Sequence[Record]) -> bool:
    ids = [np.sort(record.ids) for record in records]
    return all(np.array_equal(ids[0], others) for others in ids)


def _case(held: NDArray[np.bool_]) -> ClusteredOutcomes:
    """Outcomes (cells, samples) as gains over a model that is always wrong."""
    return ClusteredOutcomes(clusters=held.mean(axis=0), lost=0.0, gained=float(held.mean()), outcomes=held.size)


def _wilson(case: ClusteredOutcomes, confidence: float) -> Interval:
    return wilson(case.gained * case.effective, case.effective, confidence)


def _score(case: ClusteredOutcomes, limit: float) -> float:
    """Score statistic: distance from the limit in standard errors under the limit."""
    return (case.gained - limit) / sqrt(max(limit * (1 - limit), 1e-300) / case.effective)
