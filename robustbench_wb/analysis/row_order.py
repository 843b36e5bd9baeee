"""The order of a leaderboard, the best subject of each table first, and that of strengths."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from math import log

from robustbench_wb.records.score_row import PanelKey, ScoreRow


def rank_rows(rows: Iterable[ScoreRow]) -> list[ScoreRow]:
    """The rows, with the subjects of each panel from best to worst; panels and a subject's cells keep their order.

    The higher mean accuracy over all cells of the panel is better, and the lower geometric mean of perplexities; a
    panel holds one metric only. A cell that a subject lacks, or that failed, counts as the worst there is: as accuracy
    0, and as a perplexity beyond all others. So does one graded F: what blinds an attack must not lift a subject above
    those that were attacked. Subjects that tie keep their order.
    """
    panels: dict[PanelKey, list[ScoreRow]] = {}
    for row in rows:
        panels.setdefault(row.panel, []).append(row)
    return [row for members in panels.values() for row in _by_rank(members)]


def _by_rank(rows: Sequence[ScoreRow]) -> list[ScoreRow]:
    cells = {(row.stressor, row.strength) for row in rows}
    subjects: dict[tuple[str, ...], list[ScoreRow]] = {}
    for row in rows:
        subjects.setdefault(row.subject, []).append(row)
    order = sorted(subjects.values(), key=lambda members: rank_key(members, len(cells)))
    return [row for members in order for row in members]


def mean_accuracy(rows: Iterable[ScoreRow], cells: int) -> float:
    """What a subject is ranked by: the mean over all cells of its panel, with 0 for one that is lacking, failed or F.

    Args:
        rows: of one subject and panel, with accuracies.
        cells: how many the panel has.
    """
    return sum(row.accuracy or 0.0 for row in rows if counts_in_score(row)) / cells


def counts_in_score(row: ScoreRow) -> bool:
    """Whether a cell counts with its own value: it has one, and is not graded F."""
    value = row.accuracy if row.metric == "accuracy" else row.perplexity
    return row.status != "error" and value is not None and row.grade != "F"


def rank_key(rows: Sequence[ScoreRow], cells: int) -> tuple[int, float]:
    """A sort key of one subject, the smallest first: cells that lack, if that alone decides; then the mean."""
    if rows[0].metric == "accuracy":
        return 0, -mean_accuracy(rows, cells)
    known = [log(row.perplexity) for row in rows if counts_in_score(row) and row.perplexity is not None]
    return cells - len(known), sum(known) / max(len(known), 1)


def strength_sort_key(strength: str) -> tuple[int, Fraction, str]:
    """A sort key: no strength first, then numbers by size, then other text."""
    if not strength:
        return (0, Fraction(0), "")
    try:
        return (1, Fraction(strength), strength)
    except (ValueError, ZeroDivisionError):
        return (2, Fraction(0), strength)
