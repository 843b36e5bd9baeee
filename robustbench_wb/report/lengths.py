"""Accuracy by input length and effective length, as tables and JSON types."""

from collections.abc import Sequence
from typing import Final

from robustbench_wb.analysis.curves.length_curves import LengthCurve
from robustbench_wb.records.score_row import PanelKey
from robustbench_wb.report.model_labels import model_labels
from robustbench_wb.report.scores import short_text, suite_title
from robustbench_wb.report.text_block import Column, TextBlock
from robustbench_wb.spec import to_json_types

_NAMES: Final = ("task", "scale", "suite", "variant", "size", "recipe", "seed", "stressor")
_NUMBERS: Final = ("n", "accuracy", "low", "high", "shortcut", "shortcut_accuracy", "status")
_NOTES: Final = (
    "accuracy in percent; effective: longest length that keeps half of the shortest length's margin over chance, by "
    "isotonic regression and linear interpolation in log length [95 % percentile bootstrap interval over test "
    "samples]; >=: kept at every measured length",
    "left out: models that do not beat chance at the shortest length",
)


def lengths_blocks(curves: Sequence[LengthCurve], version: int | None = None) -> list[TextBlock]:
    """Tables of length curves, one per panel and set of lengths.

    Args:
        curves: length curves of one table version.
        version: number of the table version, for the titles.
    """
    labels = model_labels(curve.rows[0] for curve in curves)
    tables: dict[tuple[PanelKey, tuple[str, ...]], list[LengthCurve]] = {}
    for curve in curves:
        tables.setdefault((curve.rows[0].panel, tuple(row.strength for row in curve.rows)), []).append(curve)
    blocks = []
    for (_, strengths), members in tables.items():
        title = suite_title(members[0].rows[0], version)
        numbers = [Column(heading, "right") for heading in (*strengths, "effective")]
        lines = tuple(
            (one.rows[0].stressor, labels[one.rows[0].subject], *map(short_text, one.rows), _effective(one))
            for one in members
        )
        columns = (Column("inputs"), Column("model"), *numbers)
        blocks.append(TextBlock(f"{title}: accuracy by length", columns=columns, rows=lines, styles={"error": "red"}))
    return [*blocks, TextBlock(notes=_NOTES)] if blocks else []


def lengths_plain(curves: Sequence[LengthCurve]) -> list[dict[str, object]]:
    """Names, points and numbers of each length curve, as JSON types."""
    return [
        {
            **{name: getattr(curve.rows[0], name) for name in _NAMES},
            "points": [
                {"length": int(row.strength), "fitted": fitted, **{name: getattr(row, name) for name in _NUMBERS}}
                for row, fitted in zip(curve.rows, curve.fitted, strict=True)
            ],
            **to_json_types(curve.model_dump(exclude={"rows", "fitted"})),
            "open": curve.open,
        }
        for curve in curves
    ]


def _effective(curve: LengthCurve) -> str:
    value = f"{'>= ' if curve.open else ''}{curve.effective:.0f}"
    return value if curve.low is None or curve.high is None else f"{value} [{curve.low:.0f}, {curve.high:.0f}]"
