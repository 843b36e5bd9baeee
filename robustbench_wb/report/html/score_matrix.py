"""Overview table of a panel: a row per model, a column per cell, numbers with interval, samples and grade."""

from dataclasses import dataclass
from math import log

from robustbench_wb.analysis.row_order import CellKey
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.report.grade_notes import GRADE_MEANING
from robustbench_wb.report.html.headline_table import SHADES, mark_of
from robustbench_wb.report.panel import PanelRows, PlottedValue, plotted_value
from robustbench_wb.report.scores import interval_text, panel_facts, short_text
from robustbench_wb.report.shortcut_notes import shortcut_mark, shortcut_notes


@dataclass(frozen=True, kw_only=True)
class MatrixCell:
    """Cell of the overview; all texts are empty if the cell was not measured."""

    text: str = ""
    interval: str = ""
    n: str = ""
    grade: str = ""
    note: str = ""
    """``~`` if the model does not beat a shortcut, or the number of unjudged samples."""
    anchor: str = ""
    """URL fragment of the row."""
    sort: str = ""
    """Number that the column is sorted by; an empty text comes last in both directions."""
    shade: int | None = None
    """Shade from 0 to ``SHADES``, stronger is better; None without a value."""


@dataclass(frozen=True, kw_only=True)
class MatrixRow:
    """Model of the overview."""

    number: int
    """Rank of the model, from 1."""
    mark: str
    """Marker of the model in the figures."""
    style: str
    """Class of the style sheet for the colour of the model."""
    label: str
    entries: tuple[MatrixCell, ...]


@dataclass(frozen=True)
class ScoreMatrix:
    """Overview table of one panel."""

    headings: tuple[CellKey, ...]
    """Cell of each column."""
    lines: tuple[MatrixRow, ...]
    notes: tuple[str, ...]


def score_matrix(panel: PanelRows, version: int | None = None) -> ScoreMatrix:
    """Overview table of a panel.

    Args:
        panel: rows of the panel.
        version: number of the table version, for the notes.
    """
    values = [found for row in panel.rows if (found := plotted_value(row)) is not None]
    lines = []
    for model, label in panel.labels.items():
        entries = tuple(
            _entry(panel.by_cell.get((model, cell)), panel.anchors.get((model, cell), ""), values)
            for cell in panel.cells
        )
        number = panel.numbers[model]
        mark, style = mark_of(number)
        lines.append(MatrixRow(number=number, mark=mark, style=style, label=label, entries=entries))
    return ScoreMatrix(tuple(panel.cells), tuple(lines), _notes(panel, version))


def _entry(row: ScoreRow | None, anchor: str, values: list[PlottedValue]) -> MatrixCell:
    if row is None:
        return MatrixCell()
    own = plotted_value(row)
    failed = row.status == "error"
    missing = row.errored + row.not_run
    return MatrixCell(
        text=short_text(row),
        interval=interval_text(row) if own is not None else "",
        n=str(row.n),
        grade="" if failed else row.grade,
        note="" if failed else f"{missing} not judged" if missing else shortcut_mark(row),
        anchor=anchor,
        sort="" if own is None else repr(own.value),
        shade=None if own is None else _shade(row, own, values),
    )


def _shade(row: ScoreRow, own: PlottedValue, values: list[PlottedValue]) -> int:
    """Shade of a cell, stronger is better: accuracies from 0 to 100 %, perplexities by logarithm within the panel."""
    if row.metric == "accuracy":
        return round(own.value / 100 * SHADES)
    logs = [log(found.value) for found in values]
    width = max(logs) - min(logs)
    return round((max(logs) - log(own.value)) / width * SHADES) if width else SHADES


def _notes(panel: PanelRows, version: int | None) -> tuple[str, ...]:
    better = "the higher the accuracy" if panel.metric == "accuracy" else "the lower the perplexity"
    notes = [panel_facts(panel.rows, version), f"the stronger the colour of a cell, {better}; best model first"]
    if any(row.status == "incomplete" for row in panel.rows):
        notes.append("*: not all samples were judged; unjudged samples count as broken")
    graded = [GRADE_MEANING] if any(row.grade for row in panel.rows) else []
    return (*notes, *graded, *shortcut_notes(panel.rows, panel.labels))
