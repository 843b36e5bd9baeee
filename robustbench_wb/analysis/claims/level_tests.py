"""The level of one checkpoint, over one cell or several: accuracy or perplexity, and one-sided p-values of a limit."""

from collections.abc import Mapping, Sequence
from math import log, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, norm, t

from robustbench_wb.analysis.claims.one_sided_tests import OneSidedP
from robustbench_wb.analysis.compare.overall import ClusteredOutcomes
from robustbench_wb.records.record import Record, State
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.stats.intervals import Interval, mean_interval, wilson

Floats = NDArray[np.float64]


class LevelEstimate(NamedTuple):
    """A share of accuracy, or the logarithm of a perplexity."""

    worst: float
    """If all that was not judged is broken; else equal to ``best``."""
    best: float
    wide: Interval
    narrow: Interval
    n: int
    tails: OneSidedP


def accuracy_level(
    rows: Sequence[ScoreRow], records: Mapping[str, Record], limit: float, alpha: float
) -> LevelEstimate | None:
    """The mean accuracy of some cells. One cell needs no record: its row has all there is to know.

    One cell: exact binomial p-values, Wilson's interval. Several: a sample is a cluster, and both are those of the
    effective number of independent outcomes (Rao & Scott 1992); p is that of the score test, which agrees with the
    interval.

    Args:
        rows: of one subject.
        records: of the rows, by key.
        limit: a share, which the level is above or below.
        alpha: 1 - ``alpha`` and 1 - 2 ``alpha`` are the confidences of the intervals.

    Returns:
        None when the cells are of different samples.
    """
    if len(rows) == 1:
        (row,) = rows
        best = row.n - row.broken - row.wrong
        wide, narrow = (
            Interval(wilson(row.robust, row.n, level).low, wilson(best, row.n, level).high)
            for level in (1 - alpha, 1 - 2 * alpha)
        )
        tails = OneSidedP(float(binom.sf(row.robust - 1, row.n, limit)), float(binom.cdf(best, row.n, limit)))
        return LevelEstimate(row.robust / row.n, best / row.n, wide, narrow, row.n, tails)
    kept = [records[row.key] for row in rows]
    if not _same_samples(kept):
        return None
    states = np.stack([record.states[np.argsort(record.ids)] for record in kept])
    unknown = (states == State.ERRORED) | (states == State.NOT_RUN)
    down, up = (_case(held) for held in (states == State.ROBUST, (states == State.ROBUST) | unknown))
    wide, narrow = (Interval(_wilson(down, level).low, _wilson(up, level).high) for level in (1 - alpha, 1 - 2 * alpha))
    tails = OneSidedP(float(norm.sf(_score(down, limit))), float(norm.cdf(_score(up, limit))))
    return LevelEstimate(down.gained, up.gained, wide, narrow, states.shape[1], tails)


def perplexity_level(
    rows: Sequence[ScoreRow], records: Mapping[str, Record], limit: float, alpha: float
) -> LevelEstimate | None:
    """The mean over some cells of the logarithm of the perplexity: t tests of the samples' mean losses.

    Arguments and result as above, but ``limit`` is a perplexity.
    """
    kept = [records[row.key] for row in rows]
    if not _same_samples(kept):
        return None
    losses = np.mean([record.token_losses[np.argsort(record.ids)] for record in kept], axis=0)
    mean, wide = mean_interval(losses, 1 - alpha)
    _, narrow = mean_interval(losses, 1 - 2 * alpha)
    error = float(losses.std(ddof=1)) / sqrt(losses.size) if losses.size > 1 else 0.0
    p = float(t.sf((mean - log(limit)) / error, losses.size - 1)) if error else 0.5
    return LevelEstimate(mean, mean, wide, narrow, losses.size, OneSidedP(p, 1 - p))


def _same_samples(records: Sequence[Record]) -> bool:
    ids = [np.sort(record.ids) for record in records]
    return all(np.array_equal(ids[0], others) for others in ids)


def _case(held: NDArray[np.bool_]) -> ClusteredOutcomes:
    """(cells, samples) as gains over a subject that is always wrong."""
    return ClusteredOutcomes(held.mean(axis=0), 0.0, float(held.mean()), held.size)


def _wilson(case: ClusteredOutcomes, confidence: float) -> Interval:
    return wilson(case.gained * case.effective, case.effective, confidence)


def _score(case: ClusteredOutcomes, limit: float) -> float:
    """Distance from the limit in standard errors under it."""
    return (case.gained - limit) / sqrt(max(limit * (1 - limit), 1e-300) / case.effective)
