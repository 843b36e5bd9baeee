"""Pages of a site that no other command writes: the start page, and the history."""

from collections.abc import Sequence

from robustbench_wb.analysis.history.history_result import History
from robustbench_wb.report.figures.history_charts import history_charts
from robustbench_wb.report.history import history_blocks
from robustbench_wb.report.html.headline_table import headline_tables
from robustbench_wb.report.html.page import DrawnChart
from robustbench_wb.report.html.template import PageLink, render
from robustbench_wb.report.panel import PanelRows

START, BOARD, HISTORY = "index.html", "leaderboard.html", "history.html"
"""Files of the pages that every site has."""


def version_file(number: int) -> str:
    """File of the report of a version."""
    return f"v{number}.html"


def start_page(
    name: str, panels: Sequence[PanelRows], history: History, *, pages: Sequence[int], links: Sequence[PageLink]
) -> str:
    """Start page: the ranking of each panel of the latest version, and all versions, newest first.

    Args:
        name: name of the results.
        panels: panels of the latest version.
        history: history of the results.
        pages: numbers of the versions that have a page.
        links: links to the other pages.
    """
    versions = [
        (version, version_file(version.number) if version.number in pages else "") for version in history.versions
    ]
    tables = [(panel.title, headline_tables(panel)) for panel in panels]
    return render("site.html", links=links, name=name, panels=tables, versions=versions[::-1])


def history_page(history: History, links: Sequence[PageLink]) -> str:
    """Page with a chart per panel, and the lines of every model."""
    from robustbench_wb.report.figures.inline_svg import inline_svg  # imports matplotlib

    charts = [
        DrawnChart(chart.title, inline_svg(chart, f"f{number}", numbers=False))
        for number, chart in enumerate(history_charts(history), 1)
    ]
    return render("history.html", links=links, charts=charts, blocks=history_blocks(history))
