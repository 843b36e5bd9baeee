"""Accuracy by length, and the length that a subject can make use of."""

from collections.abc import Sequence
from typing import Any, Final

from robustbench_wb.analysis.curves.length_curves import LengthCurve
from robustbench_wb.report.model_labels import model_labels
from robustbench_wb.report.scores import short_text, suite_title
from robustbench_wb.report.text_block import Column, TextBlock
from robustbench_wb.spec import to_json_types

_NAMES: Final = ("task", "scale", "suite", "variant", "size", "recipe", "seed", "stressor")
_NUMBERS: Final = ("n", "accuracy", "low", "high", "shortcut", "shortcut_accuracy", "status")
_MEANING: Final = (
    "accuracy in percent; effective: longest length at which half of what the accuracy at the shortest one is above "
    "guessing is kept, by isotonic regression and straight lines in log length [95 % percentile bootstrap interval "
    "over test samples]; >=: it is kept at every length measured",
    "left out: subjects that are no better than guessing at the shortest length",
)


def lengths_blocks(curves: Sequence[LengthCurve], version: int | None = None) -> list[TextBlock]:
    """One table per task and set of lengths."""
    labels = model_labels(curve.rows[0] for curve in curves)
    tables: dict[tuple[Any, ...], list[LengthCurve]] = {}
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
        columns = (Column("stressor"), Column("variant"), *numbers)
        blocks.append(TextBlock(f"{title}: accuracy by length", columns, lines, (), {"error": "red"}))
    return [*blocks, TextBlock("", (), (), _MEANING)] if blocks else []


def lengths_plain(curves: Sequence[LengthCurve]) -> list[dict[str, Any]]:
    """Names and numbers of each, as JSON types."""
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
