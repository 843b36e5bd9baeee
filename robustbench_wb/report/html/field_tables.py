"""Every field of every row in full precision: what all cells of a subject share once, the rest in a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.report.html.credibility_tables import doubts_text
from robustbench_wb.report.html.panel import PanelRows

OMITTED_FIELDS: Final = ("checks", "layers")
"""Long JSON: of the checks those below A are told as doubts, the measures of single layers are drawn."""
_ALWAYS: Final = {
    "accuracy": ("accuracy", "low", "high", "n", "grade", "signature", "key"),
    "perplexity": ("perplexity", "perplexity_low", "perplexity_high", "n", "grade", "signature", "key"),
}
"""Fields that are columns even where all cells agree."""


@dataclass(frozen=True)
class FieldTableRow:
    """One row of the table."""

    anchor: str
    label: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class FieldTable:
    """One subject of one panel."""

    title: str
    shared: tuple[tuple[str, str], ...]
    """Fields and values; what is empty everywhere is left out."""
    columns: tuple[str, ...]
    lines: tuple[FieldTableRow, ...]


def field_tables(panel: PanelRows) -> list[FieldTable]:
    """All rows of a panel, subject by subject."""
    return [
        _subject(panel, label, [row for row in panel.rows if row.subject == subject])
        for subject, label in panel.labels.items()
    ]


def _subject(panel: PanelRows, label: str, rows: Sequence[ScoreRow]) -> FieldTable:
    texts = [_texts(row) for row in rows]
    first = texts[0]
    varying = {name for name in first if any(one[name] != first[name] for one in texts)}
    always = _ALWAYS[panel.metric]
    columns = (*always, *(name for name in first if name in varying and name not in always))
    shared = tuple((name, text) for name, text in first.items() if name not in columns and text)
    lines = tuple(
        FieldTableRow(
            anchor=panel.anchors[row.subject, (row.stressor, row.strength)],
            label=row.cell,
            values=tuple(text[name] for name in columns),
        )
        for row, text in zip(rows, texts, strict=True)
    )
    return FieldTable(f"{label}, {rows[0].task}, {rows[0].scale} scale", shared, columns, lines)


def _texts(row: ScoreRow) -> dict[str, str]:
    """The fields as they can be read back, with the doubts."""
    fields = {name: getattr(row, name) for name in ScoreRow.model_fields if name not in OMITTED_FIELDS}
    plain = {name: "" if value is None else str(value) for name, value in fields.items()}
    return {**plain, "doubts": doubts_text(row)}
