"""Notes below a table of long-sequence scores: models that do not beat a shortcut, and truncated texts."""

from collections.abc import Iterable, Mapping
from typing import Final

from robustbench_wb.analysis.shortcut_comparison import SHORTCUT_ALPHA
from robustbench_wb.records.score_row import ScoreRow

SHORTCUT_MARK: Final = "~"
"""Mark of a score that does not beat the best shortcut."""


def shortcut_mark(row: ScoreRow) -> str:
    """``~`` for a row that does not beat the best shortcut of its cell; empty for other rows."""
    return SHORTCUT_MARK if row.shortcut_p is not None and row.shortcut_p > SHORTCUT_ALPHA else ""


def shortcut_notes(rows: Iterable[ScoreRow], labels: Mapping[tuple[str, ...], str]) -> list[str]:
    """Notes on scores that do not beat a shortcut, and on truncated and empty texts.

    Args:
        rows: rows of one table.
        labels: name of each model, by ``ScoreRow.subject``.
    """
    members = list(rows)
    marked: dict[str, list[str]] = {}
    for row in members:
        if shortcut_mark(row) and row.status != "error":
            shortcut = f"{row.shortcut} {100 * (row.shortcut_accuracy or 0):.1f}"
            marked.setdefault(labels[row.subject], []).append(f"{row.cell} ({shortcut})")
    notes = [f"{SHORTCUT_MARK} {label} does not beat a shortcut: {', '.join(cells)}" for label, cells in marked.items()]
    if marked:
        notes.append(f"{SHORTCUT_MARK}: one-sided exact McNemar test at {SHORTCUT_ALPHA:.0%} on the same samples")
    texts = {(row.cell, row.cut or 0.0, row.empty or 0.0) for row in members if row.cut or row.empty}
    return notes + [
        f"{cell}: {cut:.1%} of the texts are truncated, {empty:.1%} are empty" for cell, cut, empty in sorted(texts)
    ]
