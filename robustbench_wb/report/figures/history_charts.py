"""Charts of headline numbers over the versions of a table."""

from bisect import bisect_right

from robustbench_wb.analysis.history.history_result import History, HistoryPoint, ModelHistory
from robustbench_wb.records.names import variant_name
from robustbench_wb.report.figures.chart import Chart, ChartAxis, ChartPoint, ChartSeries
from robustbench_wb.report.figures.panel_charts import VALUE_AXIS
from robustbench_wb.report.headline_text import number_text


def history_charts(history: History) -> list[Chart]:
    """Main headline number of each model against the version, one chart per task, scale, suite and column.

    The axis has the versions that evaluated a model of the chart anew. At the others a model keeps its number.
    """
    groups: dict[tuple[str, ...], list[ModelHistory]] = {}
    for model in history.models:
        groups.setdefault((model.task, model.scale, model.suite, model.metric, model.main.column), []).append(model)
    return [_chart(members) for members in groups.values()]


def _chart(models: list[ModelHistory]) -> Chart:
    first = models[0]
    versions = sorted({point.version.number for model in models for point in model.main.points})
    series = tuple(
        ChartSeries(number, _label(model, models), tuple(_points(model, versions)))
        for number, model in enumerate(models, 1)
    )
    return Chart(
        name=f"history-{first.task}-{first.suite}-{first.main.column}",
        title=f"{first.task}, {first.scale} scale, suite {first.suite}: {first.main.column} by version",
        x=ChartAxis(label="version", names=tuple(f"v{version}" for version in versions)),
        y=VALUE_AXIS[first.metric],
        series=series,
        kind="lines",
    )


def _label(model: ModelHistory, models: list[ModelHistory]) -> str:
    """Name of a model, with recipe and seed where they vary."""
    recipe = f" {model.recipe}" if len({one.recipe for one in models}) > 1 else ""
    seed = f" seed {model.seed}" if len({one.seed for one in models}) > 1 else ""
    return f"{variant_name(model)}{recipe}{seed}"


def _points(model: ModelHistory, versions: list[int]) -> list[ChartPoint]:
    numbers = [point.version.number for point in model.main.points]
    found = []
    for at, version in enumerate(versions):
        place = bisect_right(numbers, version) - 1
        if place >= 0 and (point := _point(model, model.main.points[place], at)) is not None:
            found.append(point)
    return found


def _point(model: ModelHistory, point: HistoryPoint, at: int) -> ChartPoint | None:
    number, scale = point.number, 100.0 if model.metric == "accuracy" else 1.0
    if number.value is None:
        return None
    verdict = f", {point.change.verdict}" if point.change is not None else ""
    return ChartPoint(
        x=float(at),
        y=scale * number.value,
        text=f"{variant_name(model)} v{point.version.number}: {number_text(number, model.metric)}{verdict}",
        y_ends=None if number.low is None or number.high is None else (scale * number.low, scale * number.high),
    )
