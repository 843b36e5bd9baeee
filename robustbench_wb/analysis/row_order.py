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


def split_panels(rows: Iterable[ScoreRow]) -> list[list[ScoreRow]]:
    """Rows of each panel, in their order. A panel has one definition of each cell.

    A suite file that was edited without another version, and tables of earlier releases, have cells of one name and
    different signatures; their models are in panels of their own.
    """
    every = list(rows)
    found: dict[PanelKey, list[_Panel]] = {}
    homes: dict[tuple[object, ...], _Panel] = {}
    for subject in _by_subject(every):
        panels = found.setdefault(subject[0].panel, [])
        home = next((panel for panel in panels if panel.fits(subject)), None)
        if home is None:
            home = _Panel()
            panels.append(home)
        home.signatures |= {cell_key(row): row.signature for row in subject if row.signature}
        homes[(subject[0].panel, subject[0].subject)] = home
    for row in every:
        homes[(row.panel, row.subject)].rows.append(row)
    return [panel.rows for panels in found.values() for panel in panels]


class _Panel:
    """Rows of a panel while it is collected, and the signature of each of its cells."""

    def __init__(self) -> None:
        self.rows: list[ScoreRow] = []
        self.signatures: dict[CellKey, str] = {}

    def fits(self, rows: Iterable[ScoreRow]) -> bool:
        """Whether no cell of some rows has another signature; a model that could not be built has none."""
        known = [(self.signatures.get(cell_key(row), ""), row.signature) for row in rows]
        return all(own == other for own, other in known if own and other)


def comparable_panels(rows: Iterable[ScoreRow]) -> list[list[ScoreRow]]:
    """Rows of the models that are ranked together: those of one panel that were measured on the same cells.

    Of a panel, those with the most cells come first.
    """
    found: list[list[ScoreRow]] = []
    for panel in split_panels(rows):
        groups: dict[frozenset[CellKey], list[ScoreRow]] = {}
        for subject in _by_subject(panel):
            groups.setdefault(frozenset(map(cell_key, subject)), []).extend(subject)
        found += sorted(groups.values(), key=lambda group: -len({cell_key(row) for row in group}))
    return found


def _by_subject(rows: Iterable[ScoreRow]) -> list[list[ScoreRow]]:
    """Rows of each model in each panel."""
    found: dict[tuple[object, ...], list[ScoreRow]] = {}
    for row in rows:
        found.setdefault((row.panel, row.subject), []).append(row)
    return list(found.values())


def rank_rows(rows: Iterable[ScoreRow]) -> list[ScoreRow]:
    """Rows with the models of each panel from best to worst; panels and the cells of a model keep their order.

    Models are ordered by mean accuracy over all cells, highest first, or by geometric mean perplexity, lowest first. A
    failed cell counts as accuracy 0, or as a perplexity above all others. So does a cell of credibility grade F,
    because a model that blinds the attack must not outrank models that were attacked. Models of a panel that were
    measured on other cells follow, in an order of their own. Ties keep their order.
    """
    return [row for members in comparable_panels(rows) for row in _by_rank(members)]


def _by_rank(rows: Sequence[ScoreRow]) -> list[ScoreRow]:
    cells = {cell_key(row) for row in rows}
    order = sorted(_by_subject(rows), key=lambda members: rank_key(members, len(cells)))
    return [row for members in order for row in members]


def mean_accuracy(rows: Iterable[ScoreRow], cells: int) -> float:
    """Mean accuracy over the cells of a model; a failed or F-graded cell counts as 0.

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
