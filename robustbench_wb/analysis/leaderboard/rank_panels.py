"""The leaderboard: per panel, who is best, how sure that is, and at what cost."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import exp, isinf
from typing import Final

import numpy as np

from robustbench_wb.analysis.leaderboard.panel_ranking import PanelRanking, RankedModel
from robustbench_wb.analysis.leaderboard.sample_scores import (
    CellKey,
    SampleScores,
    sample_score_interval,
    sample_scores,
)
from robustbench_wb.analysis.row_order import counts_in_score, rank_key, strength_sort_key
from robustbench_wb.records.credibility import GRADES
from robustbench_wb.records.names import cell_name
from robustbench_wb.records.record import Record
from robustbench_wb.records.score_row import PanelKey, ScoreRow
from robustbench_wb.spec import digest
from robustbench_wb.stats.rank_intervals import letter_display, rank_intervals, significantly_better

_DIGITS: Final = 12
"""Scores that agree in so many decimals are equal: sums in another order differ in the last bit."""


def records_for_ranking(rows: Iterable[ScoreRow]) -> set[str]:
    """Keys of the records that the intervals of :func:`rankings` need."""
    return {row.key for row in rows if counts_in_score(row) and row.key}


def rank_panels(rows: Iterable[ScoreRow], records: Mapping[str, Record]) -> list[PanelRanking]:
    """Rank the subjects of each panel by :func:`robustbench_wb.analysis.row_order.mean_accuracy`, or perplexity.

    Args:
        rows: of a table, in any order. Of two rows of one slot the last stands.
        records: by key, see :func:`records_of`. Subjects of which some are missing get no intervals.

    Returns:
        A ranking per panel, in the order of their first rows. What it says does not depend on the order of subjects.
    """
    panels: dict[PanelKey, dict[object, ScoreRow]] = {}
    for row in rows:
        panels.setdefault(row.panel, {})[row.slot] = row
    return [_ranking(panel, list(members.values()), records) for panel, members in panels.items()]


@dataclass(frozen=True, eq=False)
class _Subject:
    rows: list[ScoreRow]
    standing: tuple[int, float]
    """Smaller is better."""
    found: SampleScores


def _ranking(panel: PanelKey, rows: Sequence[ScoreRow], records: Mapping[str, Record]) -> PanelRanking:
    cells = sorted({(row.stressor, row.strength) for row in rows}, key=_cell_order)
    members: dict[tuple[str, ...], list[ScoreRow]] = {}
    for row in rows:
        members.setdefault(row.subject, []).append(row)
    subjects = sorted((_subject(own, len(cells), records) for own in members.values()), key=_place)
    better, tests = _compare(subjects)
    standings = zip(subjects, rank_intervals(better), letter_display(better), strict=True)
    lines = [_line(subject, subjects, cells, ranks, group) for subject, ranks, group in standings]
    task, scale, suite, version, metric, protocol = panel
    return PanelRanking(
        task=task, scale=scale, suite=suite, suite_version=version, metric=metric, protocol=protocol,
        tests=tests, lines=tuple(lines),
    )  # fmt: skip


def _cell_order(cell: CellKey) -> tuple[object, ...]:
    return (cell[0] != "clean", cell[0], *strength_sort_key(cell[1]))


def _subject(rows: Sequence[ScoreRow], cells: int, records: Mapping[str, Record]) -> _Subject:
    own = sorted(rows, key=lambda row: _cell_order((row.stressor, row.strength)))
    lacking, mean = rank_key(own, cells)
    return _Subject(own, (lacking, round(mean, _DIGITS)), sample_scores(own, cells, records))


def _place(subject: _Subject) -> tuple[object, ...]:
    return (*subject.standing, subject.rows[0].subject)


def _compare(subjects: Sequence[_Subject]) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.bool_]], int]:
    """Who is certainly better than whom, (k, k), and how many pairs were tested. ``subjects`` are the best first."""
    accuracy = subjects[0].rows[0].metric == "accuracy"
    sign = 1.0 if accuracy else -1.0
    columns = [None if one.found.values is None else sign * one.found.values for one in subjects]
    pairs = list(combinations(range(len(subjects)), 2))
    tested = [(at, to) for at, to in pairs if _comparable(subjects[at].found, subjects[to].found, accuracy)]
    better = significantly_better(columns, tested)
    for at, to in pairs:
        better[at, to] |= _decided(subjects[at], subjects[to])
    return better, len(tested)


def _comparable(one: SampleScores, other: SampleScores, accuracy: bool) -> bool:
    """Whether the samples can be paired. A cell that does not count is an accuracy of 0, but no loss at all."""
    if one.values is None or other.values is None or one.origin != other.origin:
        return False
    return len(one.values) == len(other.values) and (accuracy or one.counted == other.counted)


def _decided(one: _Subject, other: _Subject) -> bool:
    """Whether the rule alone says so, whatever the samples: the second one lacks more perplexities, or has no cell that
    counts, while the first has a sample that does."""
    if one.standing[0] != other.standing[0]:
        return True
    return not other.found.counted and one.standing < other.standing


def _line(
    subject: _Subject, subjects: Sequence[_Subject], cells: Sequence[CellKey], ranks: tuple[int, int], group: str
) -> RankedModel:
    rows, found, first = subject.rows, subject.found, subject.rows[0]
    measured = [row for row in rows if row.status != "error"]
    accuracy = first.metric == "accuracy"
    interval = sample_score_interval(found, len(cells), accuracy)
    whole = accuracy or len(found.counted) == len(cells)
    worst_cell, worst = _worst(rows, cells, accuracy)
    grades = [row.grade for row in rows if row.grade]
    return RankedModel(
        variant=first.variant,
        size=first.size,
        recipe=first.recipe,
        seed=first.seed,
        rank=1 + sum(other.standing < subject.standing for other in subjects),
        rank_low=ranks[0] if interval is not None else None,
        rank_high=ranks[1] if interval is not None else None,
        group=group if interval is not None else "",
        score=_score(subject, accuracy) if whole else None,
        low=interval.low if interval is not None and whole else None,
        high=interval.high if interval is not None and whole and not isinf(interval.high) else None,
        worst_cell=worst_cell,
        worst=worst,
        clean=next((_value(row) for row in rows if row.stressor == "clean"), None),
        grade=max(grades, key=GRADES.index, default=""),
        counted=len(found.counted),
        cells=len(cells),
        n=tuple(sorted({row.n for row in rows})),
        parameters=max(row.parameters for row in rows),
        flops=max(row.flops for row in rows),
        train_seconds=max(row.train_seconds for row in rows),
        forwards=float(np.mean([row.forwards for row in measured])) if measured else 0.0,
        backwards=float(np.mean([row.backwards for row in measured])) if measured else 0.0,
        peak_memory=max(row.peak_memory for row in rows),
        signature=_signature(rows, found.counted, len(cells)),
        reason=found.reason,
    )


def _score(subject: _Subject, accuracy: bool) -> float:
    _, mean = subject.standing
    return -mean + 0.0 if accuracy else exp(mean)


def _value(row: ScoreRow) -> float | None:
    return row.accuracy if row.metric == "accuracy" else row.perplexity


def _worst(rows: Sequence[ScoreRow], cells: Sequence[CellKey], accuracy: bool) -> tuple[str, float | None]:
    """The cell where the subject is at its worst, with its value; first of all one that does not count."""
    counted = {(row.stressor, row.strength): _value(row) for row in rows if counts_in_score(row)}
    lacking = [cell for cell in cells if cell not in counted]
    if lacking:
        return cell_name(*lacking[0]), 0.0 if accuracy else None
    values = {cell: counted[cell] or 0.0 for cell in cells}
    cell = (min if accuracy else max)(cells, key=lambda cell: values[cell])
    return cell_name(*cell), values[cell]


def _signature(rows: Sequence[ScoreRow], counted: frozenset[CellKey], cells: int) -> str:
    """All that a score depends on, in one line that can be cited, after the example of sacreBLEU (Post 2018)."""
    first = rows[0]
    keys = [[row.stressor, row.strength, row.key] for row in rows if (row.stressor, row.strength) in counted]
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
