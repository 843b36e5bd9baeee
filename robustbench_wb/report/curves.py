"""Curves over the strengths of contaminations and corruptions, and errors under common corruptions."""

import json
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from robustbench_wb.analysis.curves.corruption_errors import CorruptionErrors, RelativeErrors
from robustbench_wb.analysis.curves.length_curves import LengthCurve
from robustbench_wb.analysis.curves.strength_curves import StrengthCurve, TriggerSuccess
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.report.lengths import lengths_plain
from robustbench_wb.report.model_labels import model_labels
from robustbench_wb.report.scores import short_text, suite_title
from robustbench_wb.report.text_block import Column, TextBlock
from robustbench_wb.spec import to_json_types

T = TypeVar("T")
_NAMES: Final = ("task", "scale", "suite", "variant", "size", "recipe", "seed")
_NUMBERS: Final = ("n", "accuracy", "low", "high", "realised", "obeyed", "status", "error")
_OF_CURVES: Final = (
    "accuracy in percent; area: mean accuracy up to the largest strength, straight lines between [95 % percentile "
    "bootstrap interval over test samples]",
    "breakdown: strength at which half of what the clean accuracy is above guessing is lost; ?: not known",
    "an interval is about the test samples alone: another training of the same recipe would give another curve",
)
_OF_ERRORS: Final = (
    "errors in percent, mean over severities 1 to 5; the last line is the mean over the common corruptions, not "
    "normalised [95 % percentile bootstrap interval over test samples]"
)
_UNDEFINED: Final = "-: the reference makes no error to divide by, or a corruption is lacking"


def curves_blocks(
    curves: Sequence[StrengthCurve], errors: Sequence[CorruptionErrors], version: int | None = None
) -> list[TextBlock]:
    """Curves with the same strengths in one table, then triggers, then errors under common corruptions."""
    blocks: list[TextBlock] = []
    if curves:
        labels = model_labels(curve.rows[-1] for curve in curves)
        for members in _grouped(curves, lambda curve: (curve.rows[-1].panel, _headings(curve))):
            blocks.append(
                _curves(f"{suite_title(members[0].rows[-1], version)}: accuracy by strength", members, labels)
            )
        for members in _grouped([one for one in curves if one.success], lambda one: one.rows[-1].panel):
            blocks.append(_successes(f"{suite_title(members[0].rows[-1], version)}: obeyed triggers", members, labels))
        blocks.append(TextBlock("", (), (), (*_OF_CURVES, *_failures(curves, labels))))
    for subjects in _grouped(errors, lambda one: (one.clean.panel, one.stored)):
        files = ", published files" if subjects[0].stored else ""
        blocks += _errors(suite_title(subjects[0].clean, version) + files, subjects)
    return blocks


def curves_json(
    curves: Sequence[StrengthCurve],
    errors: Sequence[CorruptionErrors],
    version: int,
    lengths: Sequence[LengthCurve] = (),
) -> str:
    """``{"version": 3, "curves": [...], "lengths": [...], "corruption_errors": [...]}``: names and numbers of each."""
    content = {
        "version": version,
        "curves": [_curve(one) for one in curves],
        "lengths": lengths_plain(lengths),
        "corruption_errors": [
            {**_facts(one.clean), **to_json_types(one.model_dump(exclude={"clean"}))} for one in errors
        ],
    }
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)


def _curve(one: StrengthCurve) -> dict[str, Any]:
    points = [_point(one, at) for at in range(len(one.rows))]
    numbers = to_json_types(one.model_dump(exclude={"rows", "strengths"}))
    return {**_facts(one.rows[-1]), "stressor": one.stressor, "points": points, **numbers}


def _facts(row: ScoreRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in _NAMES}


def _point(curve: StrengthCurve, at: int) -> dict[str, Any]:
    row = curve.rows[at]
    return {"strength": row.strength, "at": curve.strengths[at], **{name: getattr(row, name) for name in _NUMBERS}}


def _grouped(items: Iterable[T], key: Callable[[T], Hashable]) -> list[list[T]]:
    """The items with the same key together, in the order of their first ones."""
    groups: dict[Hashable, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.values())


def _headings(curve: StrengthCurve) -> tuple[str, ...]:
    return tuple(row.strength or row.stressor for row in curve.rows)


def _curves(title: str, curves: Sequence[StrengthCurve], labels: Mapping[tuple[str, ...], str]) -> TextBlock:
    lines = []
    for curve in curves:
        area = "" if curve.area is None else _with_ends(curve.area, curve.low, curve.high)
        names = (curve.stressor, labels[curve.rows[-1].subject])
        lines.append((*names, *(short_text(row) for row in curve.rows), area, _breakdown(curve)))
    numbers = [Column(heading, "right") for heading in (*_headings(curves[0]), "area", "breakdown")]
    return TextBlock(title, (Column("stressor"), Column("variant"), *numbers), tuple(lines), (), {"error": "red"})


def _breakdown(curve: StrengthCurve) -> str:
    if curve.threshold is None:
        return "?"
    return f"> {curve.rows[-1].strength}" if curve.breakdown is None else f"{curve.breakdown:.3g}"


def _successes(title: str, curves: Sequence[StrengthCurve], labels: Mapping[tuple[str, ...], str]) -> TextBlock:
    lines = [
        (curve.stressor, labels[curve.rows[-1].subject], one.strength, _success(one))
        for curve in curves
        for one in curve.success
    ]
    columns = (Column("stressor"), Column("variant"), Column("strength"), Column("obeyed", "right"))
    return TextBlock(
        title, columns, tuple(lines), ("samples of other classes taken for the target [95 % Wilson interval]",)
    )


def _success(one: TriggerSuccess) -> str:
    return _with_ends(one.share, one.low, one.high)


def _failures(curves: Sequence[StrengthCurve], labels: Mapping[tuple[str, ...], str]) -> list[str]:
    """One line per curve that is not whole."""
    notes = []
    for curve in curves:
        where = ", ".join(row.strength or row.stressor for row in curve.failed)
        reason = f"no number at {where}" if where else "no clean row" if curve.area is None else ""
        if reason:
            notes.append(f"{labels[curve.rows[-1].subject]} {curve.stressor}: no area, {reason}")
    return notes


def _errors(title: str, subjects: Sequence[CorruptionErrors]) -> list[TextBlock]:
    """Corruptions down, subjects across; then the same for each reference."""
    labels = model_labels(one.clean for one in subjects)
    names = list(dict.fromkeys(name for one in subjects for name in one.errors))
    means = [_with_ends(one.mean, one.low, one.high) for one in subjects]
    lines = [(name, *(_mean_error(one, name) for one in subjects)) for name in names]
    last = ("mean corruption error, unnormalised", *means)
    columns = (Column("corruption"), *(Column(labels[one.clean.subject], "right") for one in subjects))
    lacking = [
        f"{labels[one.clean.subject]}: {len(one.common)} of the 15 common corruptions were measured at all severities"
        for one in subjects
        if len(one.common) < 15
    ]
    blocks = [TextBlock(f"{title}: errors", columns, (*lines, last), (_OF_ERRORS, *lacking))]
    for at in range(len(subjects[0].normalised)):
        found = [one.normalised[at] for one in subjects]
        blocks += _normalised(title, columns, names, found)
    return blocks


def _mean_error(one: CorruptionErrors, name: str) -> str:
    errors = one.errors.get(name)
    return _percent(sum(errors) / len(errors)) if errors else ""


def _normalised(
    title: str, columns: tuple[Column, ...], names: Sequence[str], found: Sequence[RelativeErrors]
) -> list[TextBlock]:
    reference = found[0].reference
    blocks = []
    for kind, values, means in (
        ("CE", [one.ce for one in found], [one.mean for one in found]),
        ("relative CE", [one.relative for one in found], [one.relative_mean for one in found]),
    ):
        lines = [(name, *(_number(own.get(name)) for own in values)) for name in names]
        mean = f"{kind.replace('CE', 'mCE')}" if reference == "AlexNet" else f"mean {kind}"
        heading = f"{title}: {kind}, errors of {reference} = 100"
        lines.append((mean, *map(_number, means)))
        notes = (_UNDEFINED,) if any("-" in line[1:] for line in lines) else ()
        blocks.append(TextBlock(heading, columns, tuple(lines), notes))
    return blocks


def _with_ends(share: float, low: float | None, high: float | None) -> str:
    ends = "" if low is None or high is None else f" [{_percent(low)}, {_percent(high)}]"
    return _percent(share) + ends


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
