"""Strength curves of corruptions and contaminations, and errors under common corruptions, as tables and JSON."""

import json
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Final, TypeVar

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
_CURVE_NOTES: Final = (
    "accuracy in percent; area: mean accuracy over strengths from 0 to the largest, by linear interpolation [95 % "
    "percentile bootstrap interval over test samples]",
    "breakdown: strength at which half of the clean accuracy's margin over chance is lost; ?: unknown",
    "intervals cover variation between test samples only, not between trainings of the same recipe",
)
_DISTANCE_NOTE: Final = (
    "quantiles over all samples of the smallest distance at which an error is known (0: wrong when clean), in units of "
    "the radius; area: mean accuracy over all radii up to the largest; all are upper bounds"
)
_ERROR_NOTE: Final = (
    "errors in percent, mean over severities 1 to 5; last row: mean over the common corruptions, unnormalised "
    "[95 % percentile bootstrap interval over test samples]"
)
_UNDEFINED: Final = "-: undefined, because the errors of the reference sum to 0 or a corruption is missing"


def curves_blocks(
    curves: Sequence[StrengthCurve], errors: Sequence[CorruptionErrors], version: int | None = None
) -> list[TextBlock]:
    """Tables of strength curves, one per set of strengths, then of triggers, then of errors under common corruptions.

    Args:
        curves: strength curves of one table version.
        errors: errors under common corruptions.
        version: number of the table version, for the titles.
    """
    blocks: list[TextBlock] = []
    if curves:
        labels = model_labels(curve.rows[-1] for curve in curves)
        for members in _grouped(curves, lambda curve: (curve.rows[-1].panel, _headings(curve))):
            blocks.append(
                _curves(f"{suite_title(members[0].rows[-1], version)}: accuracy by strength", members, labels)
            )
        blocks += distance_blocks(curves, version)
        for members in _grouped([one for one in curves if one.success], lambda one: one.rows[-1].panel):
            title = f"{suite_title(members[0].rows[-1], version)}: success of triggers"
            blocks.append(_successes(title, members, labels))
        blocks.append(TextBlock(notes=(*_CURVE_NOTES, *_failures(curves, labels))))
    for subjects in _grouped(errors, lambda one: (one.clean.panel, one.stored)):
        files = ", published files" if subjects[0].stored else ""
        blocks += _errors(suite_title(subjects[0].clean, version) + files, subjects)
    return blocks


def curves_json(
    curves: Sequence[StrengthCurve],
    errors: Sequence[CorruptionErrors],
    version: int,
    *,
    lengths: Sequence[LengthCurve] = (),
) -> str:
    """JSON object ``{"version": 3, "curves": [...], "lengths": [...], "corruption_errors": [...]}``."""
    content = {
        "version": version,
        "curves": [_curve(one) for one in curves],
        "lengths": lengths_plain(lengths),
        "corruption_errors": [
            {**_facts(one.clean), **to_json_types(one.model_dump(exclude={"clean"}))} for one in errors
        ],
    }
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)


def _curve(one: StrengthCurve) -> dict[str, object]:
    points = [_point(one, at) for at in range(len(one.rows))]
    numbers = to_json_types(one.model_dump(exclude={"rows", "strengths"}))
    return {**_facts(one.rows[-1]), "stressor": one.stressor, "points": points, **numbers}


def _facts(row: ScoreRow) -> dict[str, object]:
    return {name: getattr(row, name) for name in _NAMES}


def _point(curve: StrengthCurve, at: int) -> dict[str, object]:
    row = curve.rows[at]
    return {"strength": row.strength, "at": curve.strengths[at], **{name: getattr(row, name) for name in _NUMBERS}}


def _grouped(items: Iterable[T], key: Callable[[T], Hashable]) -> list[list[T]]:
    """Items grouped by a key, in the order of the first item of each group."""
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
    return TextBlock(
        title, columns=(Column("perturbation"), Column("model"), *numbers), rows=tuple(lines), styles={"error": "red"}
    )


def _breakdown(curve: StrengthCurve) -> str:
    if curve.threshold is None:
        return "?"
    return f"> {curve.rows[-1].strength}" if curve.breakdown is None else f"{curve.breakdown:.3g}"


def distance_blocks(curves: Sequence[StrengthCurve], version: int | None = None) -> list[TextBlock]:
    """Tables of the distances that minimum-norm attacks found, one per panel.

    Args:
        curves: strength curves of one table version.
        version: number of the table version, for the titles.
    """
    labels = model_labels(curve.rows[-1] for curve in curves)
    blocks = []
    for members in _grouped([one for one in curves if one.distances], lambda one: one.rows[-1].panel):
        title = f"{suite_title(members[0].rows[-1], version)}: distance of the nearest error"
        blocks.append(_distances(title, members, labels))
    return blocks


def _distances(title: str, curves: Sequence[StrengthCurve], labels: Mapping[tuple[str, ...], str]) -> TextBlock:
    lines = []
    for curve in curves:
        if (found := curve.distances) is not None:
            quantiles = (
                "> all" if one is None else f"{one:.4g}" for one in (found.tenth, found.median, found.ninetieth)
            )
            ends = (f"{_percent(found.area)}", f"{found.found}/{found.samples}")
            lines.append((curve.stressor, labels[curve.rows[-1].subject], *quantiles, *ends))
    numbers = [Column(name, "right") for name in ("10 %", "median", "90 %", "area", "found")]
    return TextBlock(
        title, columns=(Column("attack"), Column("model"), *numbers), rows=tuple(lines), notes=(_DISTANCE_NOTE,)
    )


def _successes(title: str, curves: Sequence[StrengthCurve], labels: Mapping[tuple[str, ...], str]) -> TextBlock:
    lines = [
        (curve.stressor, labels[curve.rows[-1].subject], one.strength, _success(one))
        for curve in curves
        for one in curve.success
    ]
    columns = (Column("perturbation"), Column("model"), Column("strength"), Column("success", "right"))
    return TextBlock(
        title,
        columns=columns,
        rows=tuple(lines),
        notes=("samples of other classes classified as the target class [95 % Wilson interval]",),
    )


def _success(one: TriggerSuccess) -> str:
    return _with_ends(one.share, one.low, one.high)


def _failures(curves: Sequence[StrengthCurve], labels: Mapping[tuple[str, ...], str]) -> list[str]:
    """Notes on curves without an area, one line per curve."""
    notes = []
    for curve in curves:
        where = ", ".join(row.strength or row.stressor for row in curve.failed)
        reason = f"no number at {where}" if where else "no clean row" if curve.area is None else ""
        if reason:
            notes.append(f"{labels[curve.rows[-1].subject]} {curve.stressor}: no area: {reason}")
    return notes


def _errors(title: str, subjects: Sequence[CorruptionErrors]) -> list[TextBlock]:
    """Table with a row per corruption and a column per model, then tables relative to each reference."""
    labels = model_labels(one.clean for one in subjects)
    names = list(dict.fromkeys(name for one in subjects for name in one.errors))
    means = [_with_ends(one.mean, one.low, one.high) for one in subjects]
    lines = [(name, *(_mean_error(one, name) for one in subjects)) for name in names]
    last = ("mean error, unnormalised", *means)
    columns = (Column("corruption"), *(Column(labels[one.clean.subject], "right") for one in subjects))
    lacking = [
        f"{labels[one.clean.subject]}: {len(one.common)} of the 15 common corruptions were measured at all severities"
        for one in subjects
        if len(one.common) < 15
    ]
    blocks = [TextBlock(f"{title}: errors", columns=columns, rows=(*lines, last), notes=(_ERROR_NOTE, *lacking))]
    for at in range(len(subjects[0].normalised)):
        found = [one.normalised[at] for one in subjects]
        blocks += _normalised(title, columns, names=names, found=found)
    return blocks


def _mean_error(one: CorruptionErrors, name: str) -> str:
    errors = one.errors.get(name)
    return _percent(sum(errors) / len(errors)) if errors else ""


def _normalised(
    title: str, columns: tuple[Column, ...], *, names: Sequence[str], found: Sequence[RelativeErrors]
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
        blocks.append(TextBlock(heading, columns=columns, rows=tuple(lines), notes=notes))
    return blocks


def _with_ends(share: float, low: float | None, high: float | None) -> str:
    ends = "" if low is None or high is None else f" [{_percent(low)}, {_percent(high)}]"
    return _percent(share) + ends


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
