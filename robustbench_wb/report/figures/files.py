"""Files of charts for a paper: a PDF with embedded fonts and an SVG of each. Importing this imports no matplotlib."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from robustbench_wb.errors import UsageError
from robustbench_wb.registry import suggest_names
from robustbench_wb.report.figures.chart import Chart

if TYPE_CHECKING:
    from robustbench_wb.report.figures.draw import PaperFigure


def charts_by_name(charts: Iterable[Chart]) -> dict[str, Chart]:
    """Charts by the name of their files: lower-case letters, digits, points and hyphens. No two share a name."""
    found: dict[str, Chart] = {}
    for chart in charts:
        name = first = re.sub(r"[^a-z0-9.]+", "-", chart.name.lower()).strip("-.") or "figure"
        number = 1
        while name in found:
            number += 1
            name = f"{first}-{number}"
        found[name] = chart
    return found


def figure_files(charts: Iterable[Chart]) -> dict[str, bytes]:
    """Contents of the files ``NAME.pdf`` and ``NAME.svg`` of each chart, by file name."""
    from robustbench_wb.report.figures.draw import draw_chart, figure_bytes

    found: dict[str, bytes] = {}
    for name, chart in charts_by_name(charts).items():
        figure = draw_chart(chart, title=False)
        found[f"{name}.pdf"] = figure_bytes(figure, "pdf")
        found[f"{name}.svg"] = figure_bytes(figure, "svg")
    return found


def plot_chart(charts: Iterable[Chart], name: str | None = None) -> "PaperFigure":
    """One chart as a matplotlib figure, which notebooks show.

    Args:
        charts: the charts to choose from.
        name: its name in ``charts_by_name``; None is the first.

    Raises:
        UsageError: there is no such chart.
    """
    from robustbench_wb.report.figures.draw import draw_chart

    found = charts_by_name(charts)
    if not found:
        raise UsageError("there is nothing to plot: no cell has a number", "name")
    wanted = next(iter(found)) if name is None else name
    if wanted not in found:
        raise UsageError(f"chart {wanted!r} is unknown; {suggest_names(wanted, list(found))}", "name")
    return draw_chart(found[wanted])
