"""The overview: subjects down, stressors across, every number with its interval, its samples and its grade."""

from dataclasses import dataclass
from math import log
from typing import Final

from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.report.grade_notes import GRADE_MEANING
from robustbench_wb.report.html.figure import series_style
from robustbench_wb.report.html.panel import PanelRows, PlottedValue, plotted_value
from robustbench_wb.report.scores import interval_text, panel_facts, short_text
from robustbench_wb.report.shortcut_notes import shortcut_mark, shortcut_notes

SHADES: Final = 10
"""The darkest shade of a cell; 0 is none."""


@dataclass(frozen=True)
class MatrixCell:
    """One cell of the matrix. Without a row all is empty."""

    text: str = ""
    interval: str = ""
    n: str = ""
    grade: str = ""
    note: str = ""
    """``~`` for what does not beat a shortcut, or how many samples were not judged."""
    anchor: str = ""
    sort: str = ""
    """The number that the column is sorted by; empty for what comes last whichever way."""
    shade: int | None = None


@dataclass(frozen=True)
class MatrixRow:
    """One subject."""

    number: int
    series_style: str
    label: str
    entries: tuple[MatrixCell, ...]


@dataclass(frozen=True)
class ScoreMatrix:
    """One panel."""

    headings: tuple[tuple[str, str], ...]
    """Stressor and strength of each column."""
    lines: tuple[MatrixRow, ...]
    notes: tuple[str, ...]


def score_matrix(panel: PanelRows, version: int | None = None) -> ScoreMatrix:
    """The matrix of a panel; ``version`` is that of the table, for the note below."""
    readings = [found for row in panel.rows if (found := plotted_value(row)) is not None]
    lines = []
    for subject, label in panel.labels.items():
        entries = tuple(
            _entry(panel.found.get((subject, cell)), panel.anchors.get((subject, cell), ""), readings)
            for cell in panel.cells
        )
        lines.append(MatrixRow(panel.numbers[subject], series_style(panel.numbers[subject]), label, entries))
    return ScoreMatrix(tuple(panel.cells), tuple(lines), _notes(panel, version))


def _entry(row: ScoreRow | None, anchor: str, readings: list[PlottedValue]) -> MatrixCell:
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
        shade=None if own is None else _shade(row, own, readings),
    )


def _shade(row: ScoreRow, own: PlottedValue, readings: list[PlottedValue]) -> int:
    """The darker the better: accuracies on a scale from 0 to 100, perplexities by their logarithm within the panel."""
    if row.metric == "accuracy":
        return round(own.value / 100 * SHADES)
    logs = [log(found.value) for found in readings]
    width = max(logs) - min(logs)
    return round((max(logs) - log(own.value)) / width * SHADES) if width else SHADES


def _notes(panel: PanelRows, version: int | None) -> tuple[str, ...]:
    darker = "the higher the accuracy" if panel.metric == "accuracy" else "the lower the perplexity"
    notes = [panel_facts(panel.rows, version), f"the darker a cell, {darker}; best subject first"]
    if any(row.status == "incomplete" for row in panel.rows):
        notes.append("*: not all samples were judged; those that were not count as broken")
    graded = [GRADE_MEANING] if any(row.grade for row in panel.rows) else []
    return (*notes, *graded, *shortcut_notes(panel.rows, panel.labels))
