"""All fields of all rows in full precision: fields common to a model's cells once, the others in a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from robustbench_wb.analysis.row_order import cell_key
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.report.html.credibility_tables import doubts_text
from robustbench_wb.report.panel import PanelRows
from robustbench_wb.report.text_block import printable

OMITTED_FIELDS: Final = ("checks", "layers")
"""Fields with long JSON, left out: checks below A appear as doubts instead, and layer measures as figures."""
_ALWAYS: Final = {
    "accuracy": ("accuracy", "low", "high", "n", "grade", "signature", "key"),
    "perplexity": ("perplexity", "perplexity_low", "perplexity_high", "n", "grade", "signature", "key"),
}
"""Fields that are always columns, even if all cells have one value."""


@dataclass(frozen=True)
class FieldTableRow:
    """Varying fields of one cell."""

    anchor: str
    """URL fragment of the row."""
    label: str
    """Name of the cell."""
    values: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class FieldTable:
    """Fields of one model in one panel."""

    title: str
    shared: tuple[tuple[str, str], ...]
    """Names and values of the fields that all cells share; empty fields are left out."""
    columns: tuple[str, ...]
    """Names of the varying fields."""
    lines: tuple[FieldTableRow, ...]


def field_tables(panel: PanelRows) -> list[FieldTable]:
    """Fields of all rows of a panel, one table per model."""
    return [
        _field_table(panel, label, [row for row in panel.rows if row.subject == model])
        for model, label in panel.labels.items()
    ]


def _field_table(panel: PanelRows, label: str, rows: Sequence[ScoreRow]) -> FieldTable:
    texts = [_texts(row) for row in rows]
    first = texts[0]
    varying = {name for name in first if any(one[name] != first[name] for one in texts)}
    always = _ALWAYS[panel.metric]
    columns = (*always, *(name for name in first if name in varying and name not in always))
    shared = tuple((name, text) for name, text in first.items() if name not in columns and printable(text))
    lines = tuple(
        FieldTableRow(
            anchor=panel.anchors[row.subject, cell_key(row)],
            label=row.cell,
            values=tuple(text[name] for name in columns),
        )
        for row, text in zip(rows, texts, strict=True)
    )
    title = f"{label}, {rows[0].task}, {rows[0].scale} scale"
    return FieldTable(title=title, shared=shared, columns=columns, lines=lines)


def _texts(row: ScoreRow) -> dict[str, str]:
    """Fields of a row as text in full precision, with its doubts."""
    fields = {name: getattr(row, name) for name in ScoreRow.model_fields if name not in OMITTED_FIELDS}
    plain = {name: "" if value is None else str(value) for name, value in fields.items()}
    return {**plain, "doubts": doubts_text(row)}
