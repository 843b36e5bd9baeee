"""Figures of a panel: accuracy against strength, perturbed against clean accuracy, and accuracy against cost."""

from collections.abc import Callable
from math import isfinite
from typing import Final

from robustbench_wb.analysis.curves.strength_curves import CLEAN, is_length_row
from robustbench_wb.analysis.row_order import CellKey, mean_accuracy
from robustbench_wb.records.names import cell_name
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.report.html.axes import Axis, category_axis, linear_axis, logarithmic_axis
from robustbench_wb.report.html.figure import Figure, FigurePoint, Series, draw_figure
from robustbench_wb.report.html.panel import ModelKey, PanelRows, PlottedValue, plotted_value
from robustbench_wb.report.scores import interval_text, short_text
from robustbench_wb.stats.pareto import pareto_front

_UNIT: Final = {"accuracy": "accuracy in percent", "perplexity": "perplexity"}


def curve_figures(panel: PanelRows) -> list[Figure]:
    """One figure per perturbation with several strengths: the values of all models by strength, clean first."""
    ladders: dict[str, list[CellKey]] = {}
    for cell in panel.cells:
        ladders.setdefault(cell.stressor, []).append(cell)
    clean = ladders.pop(CLEAN, [])
    figures = []
    for stressor, rungs in ladders.items():
        if len(rungs) < 2 or not _values(panel, rungs):
            continue
        lengths = any(is_length_row(row) for row in panel.rows if row.stressor == stressor)
        cells = rungs if lengths else [*clean, *rungs]
        series = [Series(number, _along(panel, subject, cells)) for subject, number in panel.numbers.items()]
        across = category_axis(
            "length" if lengths else "perturbation strength (not to scale)",
            [cell.strength or cell.stressor for cell in cells],
        )
        figures.append(draw_figure(stressor, across, _value_axis(panel, cells), series=series, joined=True))
    return figures


def scatter_figures(panel: PanelRows) -> list[Figure]:
    """One figure per perturbation with perturbed against clean values, at the strength with the largest range."""
    clean = next((cell for cell in panel.cells if cell.stressor == CLEAN), None)
    if clean is None:
        return []
    figures = []
    for stressor in dict.fromkeys(cell.stressor for cell in panel.cells if cell.stressor != CLEAN):
        rungs = [cell for cell in panel.cells if cell.stressor == stressor]
        cell = max(enumerate(rungs), key=lambda entry: (_apart(panel, entry[1]), entry[0]))[1]
        series = [
            Series(number, _against(panel, subject, clean=clean, cell=cell))
            for subject, number in panel.numbers.items()
        ]
        if any(one.points for one in series):
            across = _fitted(panel, clean, f"clean {_UNIT[panel.metric]}")
            title = cell_name(cell.stressor, cell.strength)
            figures.append(draw_figure(title, across, _value_axis(panel, [cell]), series=series))
    return figures


def cost_figures(panel: PanelRows) -> list[Figure]:
    """Mean accuracy, by which models are ranked, against training time, size and attack passes.

    Training time and size show the Pareto front. Attack passes do not, because attacks need more passes on robust
    models. Empty for perplexities."""
    if panel.metric != "accuracy":
        return []
    figures = [
        _cost(panel, "training time", "seconds, logarithmic", cost=lambda rows: max(row.train_seconds for row in rows)),
        _cost(panel, "size", "parameters, logarithmic", cost=lambda rows: max(row.parameters for row in rows)),
        _cost(panel, "attack passes", "forwards + backwards per sample, logarithmic", cost=_passes, front=False),
    ]
    return [figure for figure in figures if figure is not None]


def _cost(
    panel: PanelRows, title: str, label: str, *, cost: Callable[[list[ScoreRow]], float], front: bool = True
) -> Figure | None:
    points: dict[int, FigurePoint] = {}
    for subject, number in panel.numbers.items():
        own = [row for row in panel.rows if row.subject == subject]
        if len(own) < len(panel.cells):  # its mean is one of other cells
            continue
        value, spent = 100 * mean_accuracy(own, len(panel.cells)), float(cost(own))
        if spent > 0:
            text = f"{panel.labels[subject]}: {value:.1f} for {spent:.6g}"
            points[number] = FigurePoint(x=spent, y=value, text=text)
    if not points:
        return None
    placed = list(points.values())
    best = pareto_front([point.x for point in placed], [point.y for point in placed]) if front else []
    series = [Series(number, (point,)) for number, point in points.items()]
    across = logarithmic_axis(label, [point.x for point in placed])
    up = linear_axis("mean accuracy in percent", [0], low=0, high=100)
    return draw_figure(title, across, up, series=series, front=[placed[at] for at in best])


def _passes(rows: list[ScoreRow]) -> float:
    """Mean passes per sample over the perturbed cells."""
    tried = [row.forwards + row.backwards for row in rows if row.status != "error" and row.stressor != CLEAN]
    return sum(tried) / len(tried) if tried else 0.0


def _along(panel: PanelRows, subject: ModelKey, cells: list[CellKey]) -> tuple[FigurePoint, ...]:
    points = []
    for at, cell in enumerate(cells):
        row = panel.by_cell.get((subject, cell))
        own = plotted_value(row)
        if own is not None and row is not None:
            points.append(FigurePoint(x=at, y=own.value, text=_text(panel, row), y_ends=(own.low, own.high)))
    return tuple(points)


def _against(panel: PanelRows, subject: ModelKey, *, clean: CellKey, cell: CellKey) -> tuple[FigurePoint, ...]:
    row = panel.by_cell.get((subject, cell))
    across, up = plotted_value(panel.by_cell.get((subject, clean))), plotted_value(row)
    if across is None or up is None or row is None:
        return ()
    point = FigurePoint(
        x=across.value,
        y=up.value,
        text=f"{_text(panel, row)}; clean {across.value:.4g}",
        x_ends=(across.low, across.high),
        y_ends=(up.low, up.high),
    )
    return (point,)


def _text(panel: PanelRows, row: ScoreRow) -> str:
    return f"{panel.labels[row.subject]} {row.cell}: {short_text(row)} {interval_text(row)}"


def _apart(panel: PanelRows, cell: CellKey) -> float:
    values = [found.value for found in _values(panel, [cell])]
    return max(values) - min(values) if values else -1.0


def _values(panel: PanelRows, cells: list[CellKey]) -> list[PlottedValue]:
    rows = (panel.by_cell.get((subject, cell)) for subject in panel.labels for cell in cells)
    return [found for row in rows if (found := plotted_value(row)) is not None]


def _value_axis(panel: PanelRows, cells: list[CellKey]) -> Axis:
    """Vertical axis: accuracies from 0 to 100, perplexities over their range."""
    if panel.metric == "accuracy":
        return linear_axis(_UNIT["accuracy"], [0], low=0, high=100)
    ends = _ends(_values(panel, cells))
    return logarithmic_axis("perplexity, logarithmic", ends)


def _fitted(panel: PanelRows, cell: CellKey, label: str) -> Axis:
    ends = _ends(_values(panel, [cell]))
    return linear_axis(label, ends) if panel.metric == "accuracy" else logarithmic_axis(label, ends)


def _ends(values: list[PlottedValue]) -> list[float]:
    """All values and finite interval ends; [1] if there are none."""
    return [end for one in values for end in (one.value, one.low, one.high) if isfinite(end)] or [1.0]
