"""Charts of a panel: accuracy against strength, and accuracy against cost."""

from collections.abc import Callable, Mapping
from typing import Final

from robustbench_wb.analysis.curves.strength_curves import CLEAN, is_length_row
from robustbench_wb.analysis.row_order import CellKey
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.report.figures.chart import Chart, ChartAxis, ChartPoint, ChartSeries
from robustbench_wb.report.panel import ModelKey, PanelRows, plotted_value
from robustbench_wb.report.scores import interval_text, short_text
from robustbench_wb.stats.pareto import pareto_front

VALUE_AXIS: Final = {
    "accuracy": ChartAxis(label="accuracy (%)", limits=(0, 100)),
    "perplexity": ChartAxis(label="perplexity, logarithmic", log=True),
}


def curve_charts(panel: PanelRows) -> list[Chart]:
    """One chart per perturbation with several strengths: the values of all models by strength, clean first."""
    ladders: dict[str, list[CellKey]] = {}
    for cell in panel.cells:
        ladders.setdefault(cell.stressor, []).append(cell)
    clean = ladders.pop(CLEAN, [])
    charts = []
    for stressor, rungs in ladders.items():
        lengths = any(is_length_row(row) for row in panel.rows if row.stressor == stressor)
        cells = rungs if lengths else [*clean, *rungs]
        series = [
            ChartSeries(number, panel.short_labels[model], _along(panel, model, cells))
            for model, number in panel.numbers.items()
        ]
        if len(rungs) > 1 and any(_along(panel, model, rungs) for model in panel.labels):
            names = tuple(cell.strength or cell.stressor for cell in cells)
            across = ChartAxis(label="length" if lengths else "strength (not to scale)", names=names)
            chart = Chart(
                name=f"curve-{stressor}",
                title=stressor,
                x=across,
                y=VALUE_AXIS[panel.metric],
                series=series,
                kind="lines",
            )
            charts.append(chart)
    return charts


def cost_charts(panel: PanelRows, robust: Mapping[ModelKey, ChartPoint], label: str) -> list[Chart]:
    """Robust accuracy against training time, size and attack passes.

    Training time and size show the Pareto front. Attack passes do not, because attacks need more passes on robust
    models.

    Args:
        panel: rows of the panel.
        robust: robust accuracy of each model in percent, as the y of a point; models without one are left out.
        label: label of the robust accuracy.
    """
    costs: tuple[tuple[str, str, Callable[[list[ScoreRow]], float]], ...] = (
        ("training time", "training time (s)", lambda rows: max(row.train_seconds for row in rows)),
        ("size", "parameters", lambda rows: max(row.parameters for row in rows)),
        ("attack passes", "forward and backward passes per sample", _passes),
    )
    charts = []
    for title, across, cost in costs:
        points: dict[int, ChartPoint] = {}
        for model, point in robust.items():
            spent = float(cost([row for row in panel.rows if row.subject == model]))
            if spent > 0:
                text = f"{point.text} for {spent:.6g} {across}"
                points[panel.numbers[model]] = ChartPoint(x=spent, y=point.y, text=text, y_ends=point.y_ends)
        if points:
            placed, names = list(points.values()), [panel.short_labels[model] for model in panel.labels]
            x, y = [point.x for point in placed], [point.y for point in placed]
            front = pareto_front(x, y) if cost is not _passes else []
            chart = Chart(
                name=f"cost-{title}",
                title=title,
                x=ChartAxis(label=across, log=True),
                y=ChartAxis(label=label, limits=(0, 100)),
                series=[ChartSeries(number, names[number - 1], (point,)) for number, point in points.items()],
                front=[placed[at] for at in front],
            )
            charts.append(chart)
    return charts


def _passes(rows: list[ScoreRow]) -> float:
    """Mean passes per sample over the perturbed cells."""
    tried = [row.forwards + row.backwards for row in rows if row.status != "error" and row.stressor != CLEAN]
    return sum(tried) / len(tried) if tried else 0.0


def _along(panel: PanelRows, model: ModelKey, cells: list[CellKey]) -> tuple[ChartPoint, ...]:
    points = []
    for at, cell in enumerate(cells):
        row = panel.by_cell.get((model, cell))
        own = plotted_value(row)
        if own is not None and row is not None:
            text = f"{panel.short_labels[model]} {row.cell}: {short_text(row)} {interval_text(row)}"
            points.append(ChartPoint(x=at, y=own.value, text=text, y_ends=(own.low, own.high)))
    return tuple(points)
