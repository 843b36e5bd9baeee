"""Notes below a table on the credibility grades of its numbers."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from robustbench_wb.records.credibility import CredibilityCheck, read_checks, worst_check
from robustbench_wb.records.score_row import ScoreRow

GRADE_MEANING: Final = (
    "credibility grades: A no problem found, B minor doubt, C likely too high, F not a measure of robustness "
    "(docs/credibility.md)"
)
"""Legend of the credibility grades."""


def grade_notes(rows: Iterable[ScoreRow], labels: Mapping[tuple[str, ...], str]) -> list[str]:
    """Legend of the grades, then a line for every model and check that lowers cells to C or F.

    Args:
        rows: rows of one table.
        labels: name of each model, by ``ScoreRow.subject``.
    """
    graded: dict[str, list[ScoreRow]] = {}
    for row in rows:
        if row.grade and row.status != "error":
            graded.setdefault(labels[row.subject], []).append(row)
    notes = [GRADE_MEANING] if graded else []
    for label, members in graded.items():
        causes: dict[tuple[str, str], list[tuple[ScoreRow, CredibilityCheck]]] = {}
        for row in members:
            worst = worst_check(read_checks(row.checks))
            if row.grade in ("C", "F") and worst is not None:
                causes.setdefault((row.grade, worst.name), []).append((row, worst))
        notes += [
            _line(grade, label, doubtful, everywhere=len(doubtful) == len(members) > 1)
            for (grade, _), doubtful in causes.items()
        ]
    return notes


def _line(grade: str, label: str, doubtful: Sequence[tuple[ScoreRow, CredibilityCheck]], *, everywhere: bool) -> str:
    """Cells that one check lowers to a grade, with the reason; if the reasons differ, that of the worst cell."""
    cells = "every graded cell" if everywhere else ", ".join(row.cell for row, _ in doubtful)
    row, worst = max(doubtful, key=lambda entry: entry[1].value)
    if len({check.reason for _, check in doubtful}) == 1:
        return f"{grade}: {label} {cells}: {worst.reason}"
    if worst.name == "strongest":
        return f"{grade}: {label} {cells}: {worst.reason.replace(' leaves ', ' leaves up to ', 1)}"
    return f"{grade}: {label} {cells}: worst case {row.cell}: {worst.reason}"
