"""Layer measures of a model, with one-sided p-values.

Does a measure rise or fall with depth, pass a limit, or differ from its value for clean inputs?
"""

import json
from collections.abc import Iterable, Sequence
from math import nan, sqrt
from statistics import fmean, variance
from typing import NamedTuple

from scipy.special import stdtr, stdtrit  # scipy.stats, which calls them, takes a second to import

from robustbench_wb.analysis.claims.level_tests import LevelEstimate
from robustbench_wb.analysis.claims.one_sided_tests import OneSidedP
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.stats.intervals import Interval


class _Mean(NamedTuple):
    """Mean over the samples of one seed, with its standard error."""

    value: float
    error: float
    n: int


def layer_change(rows: Sequence[ScoreRow], measure: str, *, limit: float, alpha: float) -> LevelEstimate | None:
    """Test the value of the last layer minus that of the first one against a limit.

    Rows hold means and deviations per layer, and not how the two layers vary together. The standard error of the
    difference is at most the sum of both, which is taken.

    Args:
        rows: one cell per seed of a model, with layers.
        measure: see ``robustbench_wb.layers.table.MEASURES``.
        limit: change to test against.
        alpha: the intervals have confidence 1 - ``alpha`` and 1 - 2 ``alpha``.

    Returns:
        The estimate; None if the measure is not defined in one of the two layers.
    """
    changes = []
    for row in rows:
        means = _layer_means(row, measure)
        first, last = means[0], means[-1]
        n = min(first.n, last.n)
        changes.append(_Mean(value=last.value - first.value, error=first.error + last.error, n=n))
    return _estimate(changes, limit=limit, alpha=alpha)


def layer_values(
    rows: Sequence[ScoreRow],
    measure: str,
    *,
    limit: float,
    alpha: float,
    layer: int | None = None,
    drift: bool = False,
) -> tuple[LevelEstimate, ...] | None:
    """Test the value of each layer against a limit, see ``layer_change``; None if it is not defined in one of them.

    With ``layer`` only this one is tested, from 1. With ``drift`` the value is the mean paired difference from the same
    samples when clean.
    """
    seeds = [(_layer_drifts if drift else _layer_means)(row, measure) for row in rows]
    found = []
    for number, means in enumerate(zip(*seeds, strict=True), start=1):
        if layer not in (None, number):
            continue
        one = _estimate(means, limit=limit, alpha=alpha)
        if one is None:
            return None
        found.append(one._replace(layer=number))
    return tuple(found)


def every_layer(layers: Sequence[LevelEstimate], *, above: bool) -> LevelEstimate:
    """The layer that speaks most against a statement about all layers, with the p-values of that statement.

    That all layers are above the limit is supported by the largest of their p-values (an intersection-union test,
    Berger 1982), and rejected by the smallest of the opposite, times the number of layers (Bonferroni).

    Args:
        layers: values of all layers.
        above: whether the statement is that they are above the limit; otherwise, that they are below.
    """

    def against(one: LevelEstimate) -> tuple[float, float, float]:
        side, value = (one.p, -one.worst) if above else (one.p.exchanged, one.worst)
        return side.above, -side.below, value  # the value decides where both are 0 or 1

    worst = max(layers, key=against)
    side = worst.p if above else worst.p.exchanged
    decided = OneSidedP(side.above, min(1.0, len(layers) * side.below))
    return worst._replace(p=decided if above else decided.exchanged)


def has_measure(row: ScoreRow, measure: str) -> bool:
    """Whether a row with layers holds a measure: earlier releases had fewer of them."""
    return measure in json.loads(row.layers)["measures"]


def layer_count(row: ScoreRow) -> int:
    """Number of layers of a row with layers."""
    return max(len(one["mean"]) for one in json.loads(row.layers)["measures"].values())


def _layer_means(row: ScoreRow, measure: str) -> list[_Mean]:
    found = json.loads(row.layers)["measures"][measure]
    return [
        _Mean(value=nan if mean is None else mean, error=nan if std is None else std / sqrt(n), n=n)
        for mean, std, n in zip(found["mean"], found["std"], found["defined"], strict=True)
    ]


def _layer_drifts(row: ScoreRow, measure: str) -> list[_Mean]:
    """Mean paired differences, with the standard errors behind their 95 % intervals."""
    found = json.loads(row.layers)["drift"][measure]
    return [
        _Mean(
            value=nan if mean is None else mean,
            error=nan if low is None or high is None else (high - low) / 2 / float(stdtrit(max(n - 1, 1), 0.975)),
            n=n,
        )
        for mean, low, high, n in zip(found["mean"], found["low"], found["high"], found["pairs"], strict=True)
    ]


def _estimate(means: Iterable[_Mean], *, limit: float, alpha: float) -> LevelEstimate | None:
    """Mean over seeds with Student's t. All seeds share their samples, so that the error of the samples is not averaged
    out: it is added in squares to that of the seeds. The number of samples is the smallest of a seed."""
    known = list(means)
    values, n = [one.value for one in known], min(one.n for one in known)
    seeds, value = len(known), fmean(values)
    degrees = seeds - 1 if seeds > 1 else n - 1
    error = sqrt((variance(values) / seeds if seeds > 1 else 0.0) + fmean(one.error for one in known) ** 2)
    if not (degrees > 0 and error >= 0):  # NaN where a layer has no value
        return None
    wide, narrow = (
        Interval(value - reach, value + reach)
        for reach in (float(stdtrit(degrees, 1 - level / 2)) * error for level in (alpha, 2 * alpha))
    )
    if error == 0:
        above, below = (0.0 if holds else 1.0 for holds in (value > limit, value < limit))
    else:
        above, below = (float(stdtr(degrees, sign * (value - limit) / error)) for sign in (-1, 1))
    return LevelEstimate(worst=value, best=value, wide=wide, narrow=narrow, n=n, p=OneSidedP(above, below))
