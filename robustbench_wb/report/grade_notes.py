"""Notes on how far the numbers of a table may be believed."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from robustbench_wb.records.credibility import CredibilityCheck, read_checks, worst_check
from robustbench_wb.records.score_row import ScoreRow

GRADE_MEANING: Final = (
    "grades: A nothing speaks against the number, B a small doubt, C likely too high, F says nothing about robustness "
    "(docs/credibility.md)"
)


def grade_notes(rows: Iterable[ScoreRow], labels: Mapping[tuple[str, ...], str]) -> list[str]:
    """What the letters mean, then a line for every subject and check that costs cells their A or B.

    Args:
        rows: of one table.
        labels: the name of each subject.
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
        notes += [_line(grade, label, doubtful, len(members)) for (grade, _), doubtful in causes.items()]
    return notes


def _line(grade: str, label: str, doubtful: Sequence[tuple[ScoreRow, CredibilityCheck]], graded: int) -> str:
    """The cells that one check speaks against, and why: where the figures differ, those of the worst."""
    everywhere = len(doubtful) == graded > 1
    cells = "every graded cell" if everywhere else ", ".join(row.cell for row, _ in doubtful)
    row, worst = max(doubtful, key=lambda entry: entry[1].value)
    same = len({check.reason for _, check in doubtful}) == 1
    return f"{grade}: {label} {cells}: {worst.reason if same else f'at worst ({row.cell}) {worst.reason}'}"
