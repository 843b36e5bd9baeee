"""The leaderboard as plain Python: what the command does, without parsing and printing."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from robustbench_wb.analysis.leaderboard.panel_ranking import PanelRanking
from robustbench_wb.analysis.leaderboard.rank_panels import rank_panels, records_for_ranking
from robustbench_wb.records.record import Record
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.store.loaded_table import find_records, load_table


@dataclass(frozen=True)
class Board:
    """A table with its rankings."""

    name: str
    """Of the table, like ``v3`` or ``board.csv``."""
    version: int | None
    """Number of the version; None for a file."""
    rows: Sequence[ScoreRow]
    find: Callable[[Iterable[str]], Mapping[str, Record]] = field(repr=False)
    """Where the records are."""

    @cached_property
    def rankings(self) -> list[PanelRanking]:
        """Of every panel; made when they are asked for, because they read a record per cell."""
        return rank_panels(self.rows, self.find(records_for_ranking(self.rows)))


def leaderboard(table: str = "latest", results: str = "results") -> Board:
    """Rank the subjects of every panel of a table.

    Args:
        table: a version, ``PLACE:VERSION``, a results folder, a baseline, or a file of ``leaderboard``; see
            :func:`robustbench_wb.store.loaded_table.load_table`.
        results: where versions without a place, and the records of files, are. Without records there are no intervals.

    Raises:
        StoreError: there is no such version, folder or file.
    """
    side = load_table(table, results)
    return Board(side.name, side.version, side.rows, lambda keys: find_records((side,), keys, results))
