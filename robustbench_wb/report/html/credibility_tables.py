"""What speaks against the numbers: checks that cost a row its A or B, cells that failed, samples not judged."""

from collections.abc import Iterable, Sequence

from robustbench_wb.records.credibility import read_checks
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.report.grade_notes import GRADE_MEANING
from robustbench_wb.report.html.panel import PanelRows
from robustbench_wb.report.scores import interval_text, short_text
from robustbench_wb.report.text_block import Column, TextBlock

_NAMES = (Column("task"), Column("subject"), Column("cell"))


def credibility_blocks(panels: Sequence[PanelRows]) -> list[TextBlock]:
    """Three tables: doubtful numbers, failed cells, incomplete ones; one without a line says so in its notes."""
    rows = [(panel, row) for panel in panels for row in panel.rows]
    doubtful = [line for panel, row in rows if row.status != "error" for line in _doubts(panel, row)]
    failed = [(*_name(panel, row), row.error) for panel, row in rows if row.status == "error"]
    incomplete = [_incomplete(panel, row) for panel, row in rows if row.status == "incomplete"]
    checks = (Column("grade"), Column("check"), Column("reason"))
    figures = (Column("value", "right"), Column("limit", "right"), Column("samples", "right"))
    judged = (Column("number"), Column("not judged", "right"), Column("of", "right"), Column("why"))
    graded = (GRADE_MEANING,) if any(row.grade for _, row in rows) else ("no row is graded: nobody looked for errors",)
    return [
        _block("Doubtful numbers: every check that allows C or F at best", (*checks, *figures), doubtful, graded),
        _block("Cells that failed", (Column("error"),), failed),
        _block("Cells with samples that were not judged", judged, incomplete),
    ]


def doubts_text(row: ScoreRow) -> str:
    """Every check of a row below A, with its reason."""
    return "; ".join(
        f"{check.grade} {check.name}: {check.reason}" for check in read_checks(row.checks) if check.grade != "A"
    )


def _block(
    title: str, columns: tuple[Column, ...], lines: Iterable[tuple[str, ...]], notes: tuple[str, ...] = ()
) -> TextBlock:
    rows = tuple(lines)
    return TextBlock(title, (*_NAMES, *columns), rows, notes if rows else (*notes, "none"), {"F": "red", "C": "yellow"})


def _name(panel: PanelRows, row: ScoreRow) -> tuple[str, str, str]:
    return row.task, panel.labels[row.subject], row.cell


def _doubts(panel: PanelRows, row: ScoreRow) -> list[tuple[str, ...]]:
    checks = [check for check in read_checks(row.checks) if check.grade in ("C", "F")]
    return [
        (*_name(panel, row), one.grade, one.name, one.reason, f"{one.value:.6g}", f"{one.limit:.6g}", str(one.samples))
        for one in checks
    ]


def _incomplete(panel: PanelRows, row: ScoreRow) -> tuple[str, ...]:
    number = f"{short_text(row)} {interval_text(row)}"
    return (*_name(panel, row), number, str(row.errored + row.not_run), str(row.n), row.error)
