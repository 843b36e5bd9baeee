"""Ranking of the models of each panel by their headline number, with means over all cells and costs."""

from collections.abc import Iterable, Mapping, Sequence
from math import exp, isinf

import numpy as np

from robustbench_wb.analysis.headline.headline import HeadlinePanel, HeadlineRow
from robustbench_wb.analysis.headline.make_headline import headline_panel, latest_panels, records_for_headline
from robustbench_wb.analysis.leaderboard.panel_ranking import PanelRanking, RankedModel
from robustbench_wb.analysis.row_order import CellKey, cell_key, counts_in_score, rank_key, strength_sort_key
from robustbench_wb.analysis.sample_scores import SampleScores, sample_score_interval, sample_scores
from robustbench_wb.records.credibility import GRADES
from robustbench_wb.records.names import cell_name
from robustbench_wb.records.record import Record
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.spec import digest


def records_for_ranking(rows: Iterable[ScoreRow]) -> set[str]:
    """Keys of the records that the intervals of ``rank_panels`` need."""
    return records_for_headline(rows)


def rank_panels(rows: Iterable[ScoreRow], records: Mapping[str, Record]) -> list[PanelRanking]:
    """Rank the models of each panel by the main column of their headline.

    Args:
        rows: rows of a table, in any order; of several rows with one slot, the last is used.
        records: records by key, see ``records_for_ranking``. Models with missing records get no intervals.

    Returns:
        A ranking for the models of each panel that were measured on the same cells, in the order of their first rows.
        Rankings do not depend on the order of the models.
    """
    return [_ranking(members, records) for members in latest_panels(rows)]


def _ranking(rows: Sequence[ScoreRow], records: Mapping[str, Record]) -> PanelRanking:
    headline = headline_panel(rows, records)
    cells = sorted({cell_key(row) for row in rows}, key=_cell_order)
    members: dict[tuple[str, ...], list[ScoreRow]] = {}
    for row in rows:
        members.setdefault(row.subject, []).append(row)
    lines = []
    for place in headline.rows:
        own = sorted(members[place.subject], key=lambda row: _cell_order(cell_key(row)))
        scores = sample_scores(own, len(cells), records)
        lines.append(_line(place, own, cells, scores=scores, headline=headline))
    panel = {name: value for name, value in rows[0].panel._asdict().items() if name != "n"}
    return PanelRanking(**panel, tests=headline.tests, lines=tuple(lines), headline=headline)


def _cell_order(cell: CellKey) -> tuple[object, ...]:
    return (cell.stressor != "clean", cell.stressor, *strength_sort_key(cell.strength))


def _line(
    place: HeadlineRow,
    rows: Sequence[ScoreRow],
    cells: Sequence[CellKey],
    *,
    scores: SampleScores,
    headline: HeadlinePanel,
) -> RankedModel:
    first, number = rows[0], headline.main_number(place)
    measured = [row for row in rows if row.status != "error"]
    accuracy = first.metric == "accuracy"
    interval = sample_score_interval(scores, len(cells), accuracy=accuracy)
    whole = bool(measured) if accuracy else len(scores.counted) == len(cells)
    worst_cell, worst = _worst(rows, cells, accuracy)
    grades = [row.grade for row in rows if row.grade]
    return RankedModel(
        variant=first.variant,
        size=first.size,
        recipe=first.recipe,
        seed=first.seed,
        rank=place.rank,
        rank_low=place.rank_low,
        rank_high=place.rank_high,
        group=place.group,
        score=_score(rows, len(cells)) if whole else None,
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
        headline=number.value,
        headline_low=number.low,
        headline_high=number.high,
        headline_grade=number.grade,
        headline_column=headline.main_column.name,
        headline_numbers=_numbers_text(place, headline),
    )


def _numbers_text(place: HeadlineRow, headline: HeadlinePanel) -> str:
    """All headline numbers of a model in one line."""
    pairs = zip(headline.columns, place.numbers, strict=True)
    return "; ".join(f"{column.name} = {number.value}" for column, number in pairs if number.value is not None)


def _score(rows: Sequence[ScoreRow], cells: int) -> float:
    _, mean = rank_key(rows, cells)
    return -mean + 0.0 if rows[0].metric == "accuracy" else exp(mean)


def _value(row: ScoreRow) -> float | None:
    return row.accuracy if row.metric == "accuracy" else row.perplexity


def _worst(rows: Sequence[ScoreRow], cells: Sequence[CellKey], accuracy: bool) -> tuple[str, float | None]:
    """Cell with the lowest accuracy or highest perplexity, and its value; a cell that does not count is worst."""
    counted = {cell_key(row): _value(row) for row in rows if counts_in_score(row)}
    lacking = [cell for cell in cells if cell not in counted]
    if lacking:
        return cell_name(lacking[0].stressor, lacking[0].strength), 0.0 if accuracy and counted else None
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
