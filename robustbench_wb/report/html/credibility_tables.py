"""Credibility tables of a page: checks with C or F, failed cells, and cells with unjudged samples."""

from collections.abc import Iterable, Sequence

from robustbench_wb.records.credibility import read_checks
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.report.grade_notes import GRADE_MEANING
from robustbench_wb.report.panel import PanelRows
from robustbench_wb.report.scores import interval_text, short_text
from robustbench_wb.report.text_block import Column, TextBlock

_NAMES = (Column("task"), Column("model"), Column("cell"))


def credibility_blocks(panels: Sequence[PanelRows]) -> list[TextBlock]:
    """Tables of doubtful numbers, failed cells and incomplete cells; an empty table has the note "none"."""
    rows = [(panel, row) for panel in panels for row in panel.rows]
    doubtful = [line for panel, row in rows if row.status != "error" for line in _doubts(panel, row)]
    failed = [(*_name(panel, row), row.error) for panel, row in rows if row.status == "error"]
    incomplete = [_incomplete(panel, row) for panel, row in rows if row.status == "incomplete"]
    checks = (Column("grade"), Column("check"), Column("reason"))
    figures = (Column("value", "right"), Column("limit", "right"), Column("samples", "right"))
    judged = (Column("value"), Column("not judged", "right"), Column("of", "right"), Column("reason"))
    graded = (GRADE_MEANING,) if any(row.grade for _, row in rows) else ("no row has a credibility grade",)
    return [
        _block("Doubtful numbers: all checks with grade C or F", (*checks, *figures), doubtful, notes=graded),
        _block("Failed cells", (Column("error"),), failed),
        _block("Cells with unjudged samples", judged, incomplete),
    ]


def headline_doubts(panels: Sequence[PanelRows]) -> TextBlock:
    """Headline numbers that are limited by a doubt, a failed evaluation or missing records, with the reason.

    Models with the same doubts on the same numbers share a row."""
    found: dict[tuple[str, str], dict[str, list[str]]] = {}
    for panel in panels:
        for (model, name), number in panel.headline_numbers.items():
            if number.note:
                own = found.setdefault((panel.rows[0].task, number.note), {})
                own.setdefault(panel.labels[model], []).append(f"{name} {number.grade}".rstrip())
    lines = []
    for (task, reason), models in found.items():
        shared: dict[str, list[str]] = {}
        for label, numbers in models.items():
            shared.setdefault(", ".join(numbers), []).append(label)
        lines += [(task, ", ".join(members), where, reason) for where, members in shared.items()]
    columns = (Column("task"), Column("model"), Column("number and grade"), Column("reason"))
    notes = () if lines else ("no headline number is limited by a doubt",)
    return TextBlock("Headline numbers with a doubt", columns=columns, rows=tuple(lines), notes=notes)


def doubts_text(row: ScoreRow) -> str:
    """All checks of a row with a grade below A, with their reasons."""
    return "; ".join(
        f"{check.grade} {check.name}: {check.reason}" for check in read_checks(row.checks) if check.grade != "A"
    )


def _block(
    title: str, columns: tuple[Column, ...], lines: Iterable[tuple[str, ...]], *, notes: tuple[str, ...] = ()
) -> TextBlock:
    rows = tuple(lines)
    return TextBlock(
        title,
        columns=(*_NAMES, *columns),
        rows=rows,
        notes=notes if rows else (*notes, "none"),
        styles={"F": "red", "C": "yellow"},
        styled=("grade",),
    )


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
