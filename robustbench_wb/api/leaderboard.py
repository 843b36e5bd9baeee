"""``leaderboard``: the models of each task, ranked. Needs no torch."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from robustbench_wb.analysis.headline.headline import Headline
from robustbench_wb.analysis.headline.make_headline import records_for_headline
from robustbench_wb.analysis.leaderboard.panel_ranking import PanelRanking
from robustbench_wb.analysis.leaderboard.rank_panels import rank_panels, records_for_ranking
from robustbench_wb.analysis.over_seeds.average_seeds import average_seeds
from robustbench_wb.analysis.over_seeds.seed_means import SeedMeans
from robustbench_wb.frames import columns, to_frame
from robustbench_wb.records.record import Record
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.report.figures.files import plot_chart
from robustbench_wb.report.figures.table_charts import panel_charts
from robustbench_wb.report.headline import first_screen
from robustbench_wb.report.html.notebook import notebook_html
from robustbench_wb.report.latex import headline_latex
from robustbench_wb.report.panel import panel_rows
from robustbench_wb.report.text_block import plain_text
from robustbench_wb.store.loaded_table import find_records, load_table

if TYPE_CHECKING:
    import pandas as pd

    from robustbench_wb.report.figures.draw import PaperFigure


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """A score table with its rankings. Printing it shows the headline numbers."""

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

    @cached_property
    def over_seeds(self) -> SeedMeans:
        """Headline numbers of each architecture: mean, deviation and interval over its seeds."""
        return average_seeds(self.rows, self.find(records_for_headline(self.rows)))

    @property
    def headline(self) -> Headline:
        """Headline numbers of all panels, best model first."""
        return Headline(panels=tuple(ranking.headline for ranking in self.rankings))

    def __str__(self) -> str:
        return plain_text(first_screen(self.headline, ranks=True)).rstrip()

    def to_latex(self) -> str:
        """Headline numbers as LaTeX tables (booktabs), see ``robustbench_wb.report.latex.headline_latex``."""
        return headline_latex(self.headline)

    def plot(self, name: str | None = None) -> "PaperFigure":
        """One chart as a matplotlib figure.

        Args:
            name: name of the chart, like ``robust-linf``, ``clean-robust`` or ``cost-size``; None is the chart of the
                numbers by which the models are ranked.

        Raises:
            UsageError: there is no such chart.
        """
        panels = panel_rows(self.rows, self.headline)
        return plot_chart([chart for panel in panels for chart in panel_charts(panel).every], name)

    def _repr_html_(self) -> str:
        """Headline numbers as HTML tables, for notebooks."""
        return notebook_html(panel_rows(self.rows, self.headline))

    def to_pandas(self) -> "pd.DataFrame":
        """A data frame with one row per ranked model."""
        return to_frame(
            {**columns(panel, ("lines", "headline")), **columns(line)}
            for panel in self.rankings
            for line in panel.lines
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
