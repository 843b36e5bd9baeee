"""Charts of headline numbers: robust accuracy by radius, the ranking, and clean against robust accuracy."""

from collections.abc import Sequence

from robustbench_wb.analysis.headline.headline import HeadlineNumber
from robustbench_wb.analysis.row_order import strength_sort_key
from robustbench_wb.report.figures.chart import Chart, ChartAxis, ChartPoint, ChartSeries
from robustbench_wb.report.figures.panel_charts import VALUE_AXIS
from robustbench_wb.report.headline_text import number_text
from robustbench_wb.report.panel import ModelKey, PanelRows

_CLEAN = "clean"


def main_chart(panel: PanelRows) -> Chart | None:
    """Chart of the numbers by which the models are ranked: by radius if there are several, else one point per model.

    Numbers graded F are left out. None without numbers."""
    main = main_name(panel)
    if main is None or not main_points(panel):
        return None
    own = f"robust-{main.rpartition(' ')[0]}"
    return next((chart for chart in radius_charts(panel) if chart.name == own), None) or _ranking(panel, main)


def main_name(panel: PanelRows) -> str | None:
    """Name of the column by which the models are ranked; None without headline numbers."""
    return panel.headlines[0].main_column.name if panel.headlines else None


def main_label(panel: PanelRows) -> str:
    """Label of an axis with the accuracies by which the models are ranked."""
    joint = bool(panel.headlines) and panel.headlines[0].main_column.rule == "joint"
    return f"robust, {main_name(panel)} (%)" if joint else f"accuracy, {main_name(panel)} (%)"


def radius_charts(panel: PanelRows) -> list[Chart]:
    """Robust accuracy of each model against the radius, one chart per threat model with several radii."""
    ladders: dict[str, list[str]] = {}
    for name in dict.fromkeys(column.name for one in panel.headlines for column in one.columns):
        threat, _, strength = name.rpartition(" ")
        if threat and strength_sort_key(strength)[0] == 1:
            ladders.setdefault(threat, []).append(name)
    return [_ladder(panel, threat, names) for threat, names in ladders.items() if len(names) > 1]


def clean_chart(panel: PanelRows) -> Chart | None:
    """Robust against clean accuracy, with both intervals; None if a number is missing for all models."""
    main = main_name(panel)
    points = {} if main in (None, _CLEAN) else main_points(panel)
    series = []
    for model, point in points.items():
        clean = panel.headline_numbers.get((model, _CLEAN))
        if clean is not None and clean.value is not None:
            across, ends = 100 * clean.value, _ends(clean, panel.metric)
            text = f"{point.text}; clean {number_text(clean, panel.metric)}"
            own = ChartPoint(x=across, y=point.y, text=text, x_ends=ends, y_ends=point.y_ends)
            series.append(ChartSeries(panel.numbers[model], panel.short_labels[model], (own,)))
    if not series or panel.metric != "accuracy":
        return None
    return Chart(
        name="clean-robust",
        title="Robust against clean accuracy",
        x=ChartAxis(label="clean accuracy (%)"),
        y=ChartAxis(label=main_label(panel), limits=(0, 100)),
        series=series,
    )


def main_points(panel: PanelRows) -> dict[ModelKey, ChartPoint]:
    """Number by which each model is ranked, as the y of a point."""
    main = main_name(panel) or ""
    return {model: point for model in panel.ranked if (point := _point(panel, model, name=main, x=0.0)) is not None}


def _ladder(panel: PanelRows, threat: str, names: Sequence[str]) -> Chart:
    rungs = [_CLEAN, *names] if any(name == _CLEAN for _, name in panel.headline_numbers) else list(names)
    series = []
    for model in panel.ranked:
        found = [_point(panel, model, name=name, x=float(at)) for at, name in enumerate(rungs)]
        points = tuple(point for point in found if point is not None)
        series.append(ChartSeries(panel.numbers[model], panel.short_labels[model], points))
    joint = any(column.rule == "joint" for one in panel.headlines for column in one.columns if column.name in names)
    return Chart(
        name=f"robust-{threat}",
        title=f"Robust accuracy by {threat} radius" if joint else f"{panel.metric.capitalize()} by {threat}",
        x=ChartAxis(label=f"{threat} radius (not to scale)" if joint else f"{threat} (not to scale)",
                    names=tuple(name.rpartition(" ")[2] for name in rungs)),
        y=VALUE_AXIS[panel.metric],
        series=series,
        kind="lines",
    )  # fmt: skip


def _ranking(panel: PanelRows, main: str) -> Chart:
    series = []
    for at, model in enumerate(panel.ranked):
        point = _point(panel, model, name=main, x=0.0)
        if point is not None:
            own = ChartPoint(x=point.y, y=at, text=point.text, x_ends=point.y_ends)
            series.append(ChartSeries(panel.numbers[model], panel.short_labels[model], (own,)))
    across = VALUE_AXIS[panel.metric]
    return Chart(
        name="ranking",
        title=main,
        x=ChartAxis(label=f"{main}: {across.label}", log=across.log),
        y=ChartAxis(label="", names=tuple(panel.short_labels[model] for model in panel.ranked)),
        series=series,
    )


def _point(panel: PanelRows, model: ModelKey, *, name: str, x: float) -> ChartPoint | None:
    number = panel.headline_numbers.get((model, name))
    if number is None or number.value is None or number.grade == "F":  # which says nothing about robustness
        return None
    value = 100 * number.value if panel.metric == "accuracy" else number.value
    text = f"{panel.short_labels[model]} {name}: {number_text(number, panel.metric)}"
    return ChartPoint(x=x, y=value, text=text, y_ends=_ends(number, panel.metric))


def _ends(number: HeadlineNumber, metric: str) -> tuple[float, float] | None:
    """Interval in percent, or of a perplexity; None without one."""
    if number.low is None:
        return None
    high = float("inf") if number.high is None else number.high
    return (100 * number.low, 100 * high) if metric == "accuracy" else (number.low, high)
