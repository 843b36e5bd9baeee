"""Attack strength as tables and JSON: robust accuracy by passes, runs and radius, and the checks of each row."""

import json
from collections.abc import Iterable, Sequence
from typing import Final

from robustbench_wb.analysis.curves.attack_strength import (
    PLATEAU_SHARE,
    RUN_SHARES,
    SHARES,
    AttackStrength,
    BudgetPoint,
    strength_ladders,
    without_strength,
)
from robustbench_wb.records.credibility import CredibilityCheck, read_checks
from robustbench_wb.report.grade_notes import GRADE_MEANING
from robustbench_wb.report.model_labels import model_labels
from robustbench_wb.report.scores import score_text
from robustbench_wb.report.text_block import Column, TextBlock, counted
from robustbench_wb.spec import to_json_types

_NAMES: Final = ("task", "scale", "suite", "variant", "size", "recipe", "seed", "stressor", "strength", "signature")
_NUMBERS: Final = ("n", "accuracy", "low", "high", "grade")
_NOTES: Final = (
    "robust accuracy in percent after a share of the passes that a robust sample takes; samples broken at a lower "
    "strength are excluded at 0 %",
    f"plateau: at most {100 * PLATEAU_SHARE:g} point (plus one sample) broke in the second half of the first run, and "
    "in the second half of the whole budget",
    GRADE_MEANING,
)


def strength_blocks(found: Sequence[AttackStrength], version: int | None = None) -> list[TextBlock]:
    """For each ladder of strengths a table by cost, a table by runs if the attack has runs, and the checks.

    Args:
        found: rows with their budget curves.
        version: number of the table version, for the titles.
    """
    labels = model_labels(one.row for one in found)
    rows = {one.row.slot: one for one in found}
    blocks: list[TextBlock] = []
    for members in strength_ladders(one.row for one in found):
        first, curves = members[0], [rows[row.slot] for row in members]
        table = f", table v{version}" if version is not None else ""
        title = f"{first.task}, {first.scale} scale{table}, {labels[first.subject]}: {without_strength(first)}"
        blocks += [_costs(title, curves), *_runs(curves), _checks(curves)]
    return [*blocks, TextBlock(notes=_NOTES)]


def strength_json(found: Iterable[AttackStrength], version: int | None = None) -> str:
    """JSON object ``{"version": 3, "rows": [...]}`` with names, numbers, ``checks`` and ``curve`` of each row."""
    content = {"version": version, "rows": [_plain(one) for one in found]}
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)


def _plain(one: AttackStrength) -> dict[str, object]:
    facts = {name: getattr(one.row, name) for name in (*_NAMES, *_NUMBERS)}
    return {**facts, "checks": to_json_types(read_checks(one.row.checks)), "curve": to_json_types(one.curve)}


def _costs(title: str, found: Sequence[AttackStrength]) -> TextBlock:
    """Table with a row per strength and a column per share of the budget."""
    lines, notes = [], []
    for one in found:
        if one.curve is None:
            notes.append(f"{one.row.strength or one.row.stressor}: no curve, because its record is not in the store")
            continue
        curve = one.curve
        verdict = "yes" if curve.plateau else "NO"
        cells = (one.row.strength, str(curve.budget), *_percents(curve.points[:-1]), score_text(one.row), verdict)
        lines.append(cells)
    shares = [Column(f"{100 * share:g} %", "right") for share in SHARES]
    columns = (Column("strength"), Column("passes", "right"), *shares, Column("plateau"))
    return TextBlock(title, columns=columns, rows=tuple(lines), notes=tuple(notes), styles={"NO": "red"})


def _runs(found: Sequence[AttackStrength]) -> list[TextBlock]:
    """Table by steps of the first run and by number of runs; none if no attack has runs of equal length."""
    curves = [(one.row.strength, one.curve) for one in found if one.curve is not None and one.curve.first_run]
    if not curves:
        return []
    lines = [
        (strength, *_percents(curve.first_run), *_percents(curve.by_run), _points(curve.lost_by_steps or 0.0),
         _points(curve.lost_by_budget))
        for strength, curve in curves
    ]  # fmt: skip
    columns = [Column("strength"), *(Column(f"{100 * share:g} % of a run", "right") for share in RUN_SHARES)]
    columns += [Column(counted(runs, "run"), "right") for runs in curves[0][1].runs]
    columns += [Column("lost late in run", "right"), Column("late in budget", "right")]
    return [TextBlock(columns=tuple(columns), rows=tuple(lines))]


def _checks(found: Sequence[AttackStrength]) -> TextBlock:
    """Table of the distinct checks, with the strengths that have each of them."""
    places: dict[CredibilityCheck, list[str]] = {}
    for one in found:
        for check in read_checks(one.row.checks):
            places.setdefault(check, []).append(one.row.strength)
    order = list(dict.fromkeys(check.name for check in places))
    lines = [
        (
            check.name,
            "all" if len(where) == len(found) else ", ".join(where),
            check.grade,
            f"{check.value:g}",
            f"{check.limit:g}",
            str(check.samples),
            check.reason,
        )
        for check, where in sorted(places.items(), key=lambda entry: order.index(entry[0].name))
    ]
    numbers = [Column(name, "right") for name in ("value", "limit", "n")]
    columns = (Column("check"), Column("strength"), Column("grade"), *numbers, Column("reason"))
    return TextBlock(columns=columns, rows=tuple(lines))


def _percents(points: Sequence[BudgetPoint]) -> tuple[str, ...]:
    return tuple(_points(point.accuracy) for point in points)


def _points(share: float) -> str:
    return f"{100 * share:.1f}"
