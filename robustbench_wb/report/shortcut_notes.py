"""What has to be said beside the scores of long sequences: whether a shortcut does as well, and how much was cut."""

from collections.abc import Iterable, Mapping
from typing import Final

from robustbench_wb.analysis.shortcut_comparison import SHORTCUT_ALPHA
from robustbench_wb.records.score_row import ScoreRow

SHORTCUT_MARK: Final = "~"


def shortcut_mark(row: ScoreRow) -> str:
    """``~`` for a row that does not beat the best shortcut of its cell; empty for all others."""
    return SHORTCUT_MARK if row.shortcut_p is not None and row.shortcut_p > SHORTCUT_ALPHA else ""


def shortcut_notes(rows: Iterable[ScoreRow], labels: Mapping[tuple[str, ...], str]) -> list[str]:
    """Which scores do not beat a shortcut, and how many texts were cut."""
    members = list(rows)
    marked: dict[str, list[str]] = {}
    for row in members:
        if shortcut_mark(row) and row.status != "error":
            beside = f"{row.shortcut} {100 * (row.shortcut_accuracy or 0):.1f}"
            marked.setdefault(labels[row.subject], []).append(f"{row.cell} ({beside})")
    notes = [f"{SHORTCUT_MARK} {label} does not beat a shortcut: {', '.join(cells)}" for label, cells in marked.items()]
    if marked:
        notes.append(f"{SHORTCUT_MARK}: one-sided exact McNemar test at {SHORTCUT_ALPHA:.0%} on the same samples")
    texts = {(row.cell, row.cut or 0.0, row.empty or 0.0) for row in members if row.cut or row.empty}
    return notes + [
        f"{cell}: {cut:.1%} of the texts are cut, {empty:.1%} are empty" for cell, cut, empty in sorted(texts)
    ]
