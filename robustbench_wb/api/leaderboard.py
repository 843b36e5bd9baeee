"""``leaderboard``: the models of each task, ranked. Needs no torch."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from robustbench_wb.analysis.leaderboard.panel_ranking import PanelRanking
from robustbench_wb.analysis.leaderboard.rank_panels import rank_panels, records_for_ranking
from robustbench_wb.frames import columns, to_frame
from robustbench_wb.records.record import Record
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.store.loaded_table import find_records, load_table

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """A score table with its rankings."""

    name: str
    """Name of the table, like ``v3`` or ``board.csv``."""
    version: int | None
    """Number of the version; None for a file."""
    rows: Sequence[ScoreRow]
    find: Callable[[Iterable[str]], Mapping[str, Record]] = field(repr=False)
    """Finds records by key."""

    @cached_property
    def rankings(self) -> list[PanelRanking]:
        """Rankings of all panels; made when first asked for, because they read a record per cell."""
        return rank_panels(self.rows, self.find(records_for_ranking(self.rows)))

    def to_pandas(self) -> "pd.DataFrame":
        """A data frame with one row per ranked model."""
        return to_frame(
            {**columns(panel, ("lines",)), **columns(line)} for panel in self.rankings for line in panel.lines
        )


def leaderboard(table: str = "latest", results: str = "results") -> Leaderboard:
    """Rank the models of every panel of a table.

    Args:
        table: a version, ``PLACE:VERSION``, a results folder, a baseline, or a file of ``leaderboard``; see
            ``robustbench_wb.store.loaded_table.load_table``.
        results: folder or Delta URL of versions without a place, and of the records of files. Without records there
            are no intervals.

    Raises:
        StoreError: there is no such version, folder or file.
    """
    side = load_table(table, results)
    return Leaderboard(
        name=side.name,
        version=side.version,
        rows=side.rows,
        find=lambda keys: find_records((side,), keys, results),
    )
