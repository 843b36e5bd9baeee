"""Sort orders of score rows: best model first, and strengths by size."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from math import log
from typing import NamedTuple

from robustbench_wb.records.score_row import PanelKey, ScoreRow


class CellKey(NamedTuple):
    """Cell within a panel."""

    stressor: str
    strength: str


def cell_key(row: ScoreRow) -> CellKey:
    """Cell of a row within its panel."""
    return CellKey(row.stressor, row.strength)


def rank_rows(rows: Iterable[ScoreRow]) -> list[ScoreRow]:
    """Rows with the models of each panel from best to worst; panels and the cells of a model keep their order.

    Models are ordered by mean accuracy over all cells of the panel, highest first, or by geometric mean perplexity,
    lowest first. A missing or failed cell counts as accuracy 0, or as a perplexity above all others. So does a cell of
    credibility grade F, because a model that blinds the attack must not outrank models that were attacked. Ties keep
    their order.
    """
    panels: dict[PanelKey, list[ScoreRow]] = {}
    for row in rows:
        panels.setdefault(row.panel, []).append(row)
    return [row for members in panels.values() for row in _by_rank(members)]


def _by_rank(rows: Sequence[ScoreRow]) -> list[ScoreRow]:
    cells = {cell_key(row) for row in rows}
    models: dict[tuple[str, ...], list[ScoreRow]] = {}
    for row in rows:
        models.setdefault(row.subject, []).append(row)
    order = sorted(models.values(), key=lambda members: rank_key(members, len(cells)))
    return [row for members in order for row in members]


def mean_accuracy(rows: Iterable[ScoreRow], cells: int) -> float:
    """Mean accuracy over all cells of a panel; a missing, failed or F-graded cell counts as 0.

    Args:
        rows: rows of one model and panel, with accuracies.
        cells: number of cells of the panel.
    """
    return sum(row.accuracy or 0.0 for row in rows if counts_in_score(row)) / cells


def counts_in_score(row: ScoreRow) -> bool:
    """Whether a cell enters the score with its own value: it has one, and its grade is not F."""
    value = row.accuracy if row.metric == "accuracy" else row.perplexity
    return row.status != "error" and value is not None and row.grade != "F"


def rank_key(rows: Sequence[ScoreRow], cells: int) -> tuple[int, float]:
    """Sort key of a model, smallest is best: number of missing perplexities (0 for accuracy), then mean.

    The mean is minus the mean accuracy, or the mean log perplexity.

    Args:
        rows: rows of one model and panel.
        cells: number of cells of the panel.
    """
    if rows[0].metric == "accuracy":
        return 0, -mean_accuracy(rows, cells)
    known = [log(row.perplexity) for row in rows if counts_in_score(row) and row.perplexity is not None]
    return cells - len(known), sum(known) / max(len(known), 1)


def strength_sort_key(strength: str) -> tuple[int, Fraction, str]:
    """Sort key of a strength: no strength first, then numbers by size, then other text."""
    if not strength:
        return (0, Fraction(0), "")
    try:
        return (1, Fraction(strength), strength)
    except (ValueError, ZeroDivisionError):
        return (2, Fraction(0), strength)
