"""Ranking of the models of each panel, with rank intervals and costs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import exp, isinf
from typing import Final

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.analysis.leaderboard.panel_ranking import PanelRanking, RankedModel
from robustbench_wb.analysis.leaderboard.sample_scores import SampleScores, sample_score_interval, sample_scores
from robustbench_wb.analysis.row_order import (
    CellKey,
    cell_key,
    comparable_panels,
    counts_in_score,
    rank_key,
    strength_sort_key,
)
from robustbench_wb.records.credibility import GRADES
from robustbench_wb.records.names import cell_name
from robustbench_wb.records.record import Record
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.spec import digest
from robustbench_wb.stats.rank_intervals import letter_display, rank_intervals, significantly_better

_DIGITS: Final = 12
"""Decimals to which scores are compared, because sums in another order differ in the last bit."""


def records_for_ranking(rows: Iterable[ScoreRow]) -> set[str]:
    """Keys of the records that the intervals of ``rank_panels`` need."""
    return {row.key for row in rows if counts_in_score(row) and row.key}


def rank_panels(rows: Iterable[ScoreRow], records: Mapping[str, Record]) -> list[PanelRanking]:
    """Rank the models of each panel by mean accuracy or geometric mean perplexity.

    Args:
        rows: rows of a table, in any order; of several rows with one slot, the last is used.
        records: records by key, see ``records_for_ranking``. Models with missing records get no intervals.

    Returns:
        A ranking for the models of each panel that were measured on the same cells, in the order of their first rows.
        Rankings do not depend on the order of the models.
    """
    latest = {(row.panel, row.slot): row for row in rows}
    return [_ranking(members, records) for members in comparable_panels(latest.values())]


@dataclass(frozen=True, eq=False)
class _Model:
    rows: list[ScoreRow]
    standing: tuple[int, float]
    """Rounded sort key, smallest is best; see ``robustbench_wb.analysis.row_order.rank_key``."""
    scores: SampleScores


def _ranking(rows: Sequence[ScoreRow], records: Mapping[str, Record]) -> PanelRanking:
    cells = sorted({cell_key(row) for row in rows}, key=_cell_order)
    members: dict[tuple[str, ...], list[ScoreRow]] = {}
    for row in rows:
        members.setdefault(row.subject, []).append(row)
    models = sorted((_model(own, len(cells), records) for own in members.values()), key=_sort_key)
    better, tests = _compare(models)
    lines = [
        _line(model, models, cells, ranks=ranks, group=group)
        for model, ranks, group in zip(models, rank_intervals(better), letter_display(better), strict=True)
    ]
    panel = {name: value for name, value in rows[0].panel._asdict().items() if name != "n"}
    return PanelRanking(**panel, tests=tests, lines=tuple(lines))


def _cell_order(cell: CellKey) -> tuple[object, ...]:
    return (cell.stressor != "clean", cell.stressor, *strength_sort_key(cell.strength))


def _model(rows: Sequence[ScoreRow], cells: int, records: Mapping[str, Record]) -> _Model:
    own = sorted(rows, key=lambda row: _cell_order(cell_key(row)))
    lacking, mean = rank_key(own, cells)
    return _Model(own, (lacking, round(mean, _DIGITS)), sample_scores(own, cells, records))


def _sort_key(model: _Model) -> tuple[object, ...]:
    return (*model.standing, model.rows[0].subject)


def _compare(models: Sequence[_Model]) -> tuple[NDArray[np.bool_], int]:
    """Significant differences between the models, (k, k), and the number of tested pairs.

    Args:
        models: all models of a panel, best first.
    """
    accuracy = models[0].rows[0].metric == "accuracy"
    sign = 1.0 if accuracy else -1.0
    columns = [None if one.scores.values is None else sign * one.scores.values for one in models]
    pairs = list(combinations(range(len(models)), 2))
    tested = [(at, to) for at, to in pairs if _comparable(models[at].scores, models[to].scores, accuracy)]
    better = significantly_better(columns, tested)
    for at, to in pairs:
        better[at, to] |= _decided_by_rule(models[at], models[to])
    return better, len(tested)


def _comparable(one: SampleScores, other: SampleScores, accuracy: bool) -> bool:
    """Whether two models can be paired by sample. A cell that does not count is an accuracy of 0, but has no loss."""
    if one.values is None or other.values is None or one.origin != other.origin:
        return False
    return len(one.values) == len(other.values) and (accuracy or one.counted == other.counted)


def _decided_by_rule(one: _Model, other: _Model) -> bool:
    """Whether ``one`` outranks ``other`` without a test, because ``other`` lacks more perplexities or has no cell that
    counts."""
    if one.standing[0] != other.standing[0]:
        return True
    return not other.scores.counted and one.standing < other.standing


def _line(
    model: _Model, models: Sequence[_Model], cells: Sequence[CellKey], *, ranks: tuple[int, int], group: str
) -> RankedModel:
    rows, scores, first = model.rows, model.scores, model.rows[0]
    measured = [row for row in rows if row.status != "error"]
    accuracy = first.metric == "accuracy"
    interval = sample_score_interval(scores, len(cells), accuracy=accuracy)
    whole = accuracy or len(scores.counted) == len(cells)
    worst_cell, worst = _worst(rows, cells, accuracy)
    grades = [row.grade for row in rows if row.grade]
    return RankedModel(
        variant=first.variant,
        size=first.size,
        recipe=first.recipe,
        seed=first.seed,
        rank=1 + sum(other.standing < model.standing for other in models),
        rank_low=ranks[0] if interval is not None else None,
        rank_high=ranks[1] if interval is not None else None,
        group=group if interval is not None else "",
        score=_score(model, accuracy) if whole else None,
        low=interval.low if interval is not None and whole else None,
        high=interval.high if interval is not None and whole and not isinf(interval.high) else None,
        worst_cell=worst_cell,
        worst=worst,
        clean=next((_value(row) for row in rows if row.stressor == "clean"), None),
        grade=max(grades, key=GRADES.index, default=""),
        counted=len(scores.counted),
        cells=len(cells),
        n=tuple(sorted({row.n for row in rows})),
        parameters=max(row.parameters for row in rows),
        flops=max(row.flops for row in rows),
        train_seconds=max(row.train_seconds for row in rows),
        forwards=float(np.mean([row.forwards for row in measured])) if measured else 0.0,
        backwards=float(np.mean([row.backwards for row in measured])) if measured else 0.0,
        peak_memory=max(row.peak_memory for row in rows),
        signature=_signature(rows, scores.counted, len(cells)),
        reason=scores.reason,
    )


def _score(model: _Model, accuracy: bool) -> float:
    _, mean = model.standing
    return -mean + 0.0 if accuracy else exp(mean)


def _value(row: ScoreRow) -> float | None:
    return row.accuracy if row.metric == "accuracy" else row.perplexity


def _worst(rows: Sequence[ScoreRow], cells: Sequence[CellKey], accuracy: bool) -> tuple[str, float | None]:
    """Cell with the lowest accuracy or highest perplexity, and its value; a cell that does not count is worst."""
    counted = {cell_key(row): _value(row) for row in rows if counts_in_score(row)}
    lacking = [cell for cell in cells if cell not in counted]
    if lacking:
        return cell_name(lacking[0].stressor, lacking[0].strength), 0.0 if accuracy else None
    values = {cell: counted[cell] or 0.0 for cell in cells}
    cell = (min if accuracy else max)(cells, key=lambda cell: values[cell])
    return cell_name(cell.stressor, cell.strength), values[cell]


def _signature(rows: Sequence[ScoreRow], counted: frozenset[CellKey], cells: int) -> str:
    """Everything a score depends on, in one line to cite, after the example of sacreBLEU (Post 2018)."""
    first = rows[0]
    keys = [[row.stressor, row.strength, row.key] for row in rows if cell_key(row) in counted]
    parts = {
        "suite": f"{first.suite}-v{first.suite_version}",
        "scale": first.scale,
        "task": first.task,
        "protocol": first.protocol,
        "metric": first.metric,
        "cells": f"{len(counted)}/{cells}",
        "n": ",".join(map(str, sorted({row.n for row in rows}))),
        "seed": str(first.seed),
        "numerics": ",".join(sorted({row.numerics for row in rows if row.numerics})),
        "keys": digest(sorted(keys))[:12],
    }
    return "|".join(f"{name}:{text}" for name, text in parts.items() if text)
