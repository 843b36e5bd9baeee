"""Charts of layer measures against depth, on clean inputs and as drift under a perturbation."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any, Final, NamedTuple

from scipy.special import stdtrit

from robustbench_wb.analysis.curves.strength_curves import CLEAN
from robustbench_wb.analysis.row_order import CellKey
from robustbench_wb.layers.table import MEASURES
from robustbench_wb.records.names import cell_name
from robustbench_wb.report.figures.chart import Chart, ChartAxis, ChartPoint, ChartSeries
from robustbench_wb.report.panel import PanelRows
from robustbench_wb.report.text_block import Column, TextBlock


class LayerMean(NamedTuple):
    """Mean of a measure over samples, with its 95 % interval."""

    mean: float
    low: float
    high: float


ReadLayers = Callable[[Mapping[str, Any], str], list[LayerMean | None]]
"""Function from the layers JSON of a row and the name of a measure to the means per layer; None if undefined."""

_NOTE: Final = "mean over the perturbed samples of the cell [95 % t interval]; formulas: docs/layers.md"


@dataclass(frozen=True)
class LayerCharts:
    """Layer measures of a panel in one cell."""

    title: str
    charts: list[Chart]
    """One chart per measure."""
    table: TextBlock
    """Numbers of the charts."""


def layer_charts(panel: PanelRows) -> list[LayerCharts]:
    """Layer measures on clean inputs, and their drift in the cell with the lowest mean accuracy.

    Empty if the run did not measure layers."""
    cells = {cell: found for cell in panel.cells if (found := _layers(panel, cell))}
    parts = [
        _part(panel, "Layer measures on clean inputs", kind="clean", read=_clean, found=found)
        for cell, found in cells.items()
        if cell.stressor == CLEAN
    ]
    worst = min((cell for cell in cells if cell.stressor != CLEAN), key=lambda cell: _mean(panel, cell), default=None)
    if worst is not None:
        name = cell_name(worst.stressor, worst.strength)
        title = f"Drift of layer measures under {name}: perturbed minus clean, paired samples"
        parts.append(_part(panel, title, kind="drift", read=_drift, found=cells[worst]))
    return [part for part in parts if part.charts]


def _layers(panel: PanelRows, cell: CellKey) -> dict[int, dict[str, Any]]:
    """Parsed layers JSON of each model in a cell, by the number of the model."""
    rows = {number: panel.by_cell.get((model, cell)) for model, number in panel.numbers.items()}
    return {number: json.loads(row.layers) for number, row in rows.items() if row is not None and row.layers}


def _mean(panel: PanelRows, cell: CellKey) -> float:
    """Mean accuracy of the models in a cell, or minus their mean perplexity."""
    rows = [row for model in panel.labels if (row := panel.by_cell.get((model, cell))) is not None]
    known = [row.accuracy if row.accuracy is not None else -(row.perplexity or 0.0) for row in rows]
    return sum(known) / len(known)


def _part(
    panel: PanelRows, title: str, *, kind: str, read: ReadLayers, found: Mapping[int, Mapping[str, Any]]
) -> LayerCharts:
    charts, lines = [], []
    for name, meaning in MEASURES.items():
        layers = {number: read(content, name) for number, content in found.items()}
        known = {number: own for number, own in layers.items() if any(layer is not None for layer in own)}
        if known:
            charts.append(_chart(panel, name=f"layers-{kind}-{name}", title=f"{name}: {meaning}", layers=known))
            lines += _lines(panel, name, known)
    columns = (Column("measure"), Column("layer", "right"), *(Column(name, "right") for name in panel.labels.values()))
    return LayerCharts(title, charts, TextBlock(title, columns=columns, rows=tuple(lines), notes=(_NOTE,)))


def _chart(panel: PanelRows, *, name: str, title: str, layers: Mapping[int, list[LayerMean | None]]) -> Chart:
    names = {number: panel.short_labels[model] for model, number in panel.numbers.items()}
    depth = tuple(str(layer) for layer in range(1, max(map(len, layers.values())) + 1))
    return Chart(
        name=name,
        title=title,
        x=ChartAxis(label="layer", names=depth),
        y=ChartAxis(label="mean over samples"),
        series=[ChartSeries(number, names[number], _points(names[number], own)) for number, own in layers.items()],
        kind="lines",
    )


def _lines(panel: PanelRows, name: str, layers: Mapping[int, list[LayerMean | None]]) -> list[tuple[str, ...]]:
    """Table rows of a measure: one row per layer in which a model has a value, with a column per model."""
    depth = max(map(len, layers.values()))
    padded = [[*layers.get(number, ()), *[None] * depth][:depth] for number in panel.numbers.values()]
    known = [at for at in range(depth) if any(own[at] is not None for own in padded)]
    return [(name, str(at + 1), *(_text(own[at]) for own in padded)) for at in known]


def _text(layer: LayerMean | None) -> str:
    return "" if layer is None else f"{layer.mean:.4g} [{layer.low:.4g}, {layer.high:.4g}]"


def _points(name: str, layers: list[LayerMean | None]) -> tuple[ChartPoint, ...]:
    return tuple(
        ChartPoint(x=at, y=layer.mean, text=f"{name}, layer {at + 1}: {_text(layer)}", y_ends=(layer.low, layer.high))
        for at, layer in enumerate(layers)
        if layer is not None
    )


def _clean(content: Mapping[str, Any], name: str) -> list[LayerMean | None]:
    """Means per layer with Student's t intervals, over the samples for which the measure is defined."""
    own = content["measures"].get(name, {"mean": [], "std": [], "defined": []})
    found: list[LayerMean | None] = []
    for mean, std, defined in zip(own["mean"], own["std"], own["defined"], strict=True):
        reach = None if std is None else float(stdtrit(defined - 1, 0.975)) * std / sqrt(defined)
        found.append(None if mean is None or reach is None else LayerMean(mean, mean - reach, mean + reach))
    return found


def _drift(content: Mapping[str, Any], name: str) -> list[LayerMean | None]:
    """Mean paired drift per layer, with the intervals of the row."""
    own = content["drift"].get(name, {"mean": [], "low": [], "high": []})
    layers = zip(own["mean"], own["low"], own["high"], strict=True)
    return [None if None in layer else LayerMean._make(layer) for layer in layers]
