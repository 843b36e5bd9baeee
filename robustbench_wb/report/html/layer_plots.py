"""What the layers do, as figures: every measure against depth, and how far a stressor moves it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any, Final

from scipy.special import stdtrit

from robustbench_wb.analysis.curves.strength_curves import CLEAN
from robustbench_wb.layers.table import MEASURES
from robustbench_wb.records.names import cell_name
from robustbench_wb.report.html.axes import Axis, category_axis, linear_axis
from robustbench_wb.report.html.figure import Figure, FigurePoint, Series, draw_figure
from robustbench_wb.report.html.panel import CellKey, PanelRows
from robustbench_wb.report.text_block import Column, TextBlock

LayerMean = tuple[float, float, float]
"""A mean over samples, and its 95 % interval."""
ReadLayers = Callable[[Mapping[str, Any], str], list[LayerMean | None]]
"""The layers of one measure, of a row's JSON; None where nothing is defined."""

_NOTE: Final = "mean over the samples that the cell tried [95 % t interval]; formulas: docs/layers.md"


@dataclass(frozen=True)
class LayerFigures:
    """What the layers do under one cell."""

    title: str
    figures: list[Figure]
    """One per measure."""
    table: TextBlock
    """The same numbers."""


def layer_figures(panel: PanelRows) -> list[LayerFigures]:
    """Clean, and the drift of the cell in which the subjects are worst; nothing where a run did not look at layers."""
    cells = {cell: found for cell in panel.cells if (found := _layers(panel, cell))}
    parts = [
        _part(panel, "What the layers do to clean inputs", _clean, found)
        for cell, found in cells.items()
        if cell[0] == CLEAN
    ]
    worst = min((cell for cell in cells if cell[0] != CLEAN), key=lambda cell: _mean(panel, cell), default=None)
    if worst is not None:
        title = f"Drift of the layers under {cell_name(*worst)}: stressed minus clean, same samples"
        parts.append(_part(panel, title, _drift, cells[worst]))
    return [part for part in parts if part.figures]


def _layers(panel: PanelRows, cell: CellKey) -> dict[int, dict[str, Any]]:
    """What the cell says of the layers, by the number of the subject."""
    rows = {number: panel.found.get((subject, cell)) for subject, number in panel.numbers.items()}
    return {number: json.loads(row.layers) for number, row in rows.items() if row is not None and row.layers}


def _mean(panel: PanelRows, cell: CellKey) -> float:
    """Of the accuracies of a cell; of perplexities, with the other sign."""
    rows = [row for subject in panel.labels if (row := panel.found.get((subject, cell))) is not None]
    known = [row.accuracy if row.accuracy is not None else -(row.perplexity or 0.0) for row in rows]
    return sum(known) / len(known)


def _part(panel: PanelRows, title: str, read: ReadLayers, found: Mapping[int, Mapping[str, Any]]) -> LayerFigures:
    figures, lines = [], []
    for name, meaning in MEASURES.items():
        layers = {number: read(content, name) for number, content in found.items()}
        known = {number: own for number, own in layers.items() if any(layer is not None for layer in own)}
        if known:
            figures.append(_figure(panel, f"{name}: {meaning}", known))
            lines += _lines(panel, name, known)
    columns = (Column("measure"), Column("layer", "right"), *(Column(name, "right") for name in panel.labels.values()))
    return LayerFigures(title, figures, TextBlock(title, columns, tuple(lines), (_NOTE,)))


def _figure(panel: PanelRows, title: str, layers: Mapping[int, list[LayerMean | None]]) -> Figure:
    names = dict(zip(panel.numbers.values(), panel.labels.values(), strict=True))
    series = [Series(number, _points(names[number], own)) for number, own in layers.items()]
    ends = [end for own in layers.values() for layer in own if layer is not None for end in layer]
    return draw_figure(
        title, _depth(max(map(len, layers.values()))), linear_axis("mean over samples", ends), series, joined=True
    )


def _lines(panel: PanelRows, name: str, layers: Mapping[int, list[LayerMean | None]]) -> list[tuple[str, ...]]:
    """A line per layer, with every subject's number in it."""
    depth = max(map(len, layers.values()))
    padded = [[*layers.get(number, ()), *[None] * depth][:depth] for number in panel.numbers.values()]
    return [(name, str(at + 1), *(_text(own[at]) for own in padded)) for at in range(depth)]


def _text(layer: LayerMean | None) -> str:
    return "" if layer is None else f"{layer[0]:.4g} [{layer[1]:.4g}, {layer[2]:.4g}]"


def _depth(layers: int) -> Axis:
    return category_axis("layer", [str(layer) for layer in range(1, layers + 1)])


def _points(name: str, layers: list[LayerMean | None]) -> tuple[FigurePoint, ...]:
    return tuple(
        FigurePoint(
            at, layer[0], f"{name}, layer {at + 1}: {layer[0]:.4g} [{layer[1]:.4g}, {layer[2]:.4g}]", y_ends=layer[1:]
        )
        for at, layer in enumerate(layers)
        if layer is not None
    )


def _clean(content: Mapping[str, Any], name: str) -> list[LayerMean | None]:
    """Student's t interval of the mean over the samples for which the measure is defined."""
    own = content["measures"].get(name, {"mean": [], "std": [], "defined": []})
    found: list[LayerMean | None] = []
    for mean, std, defined in zip(own["mean"], own["std"], own["defined"], strict=True):
        reach = None if std is None else float(stdtrit(defined - 1, 0.975)) * std / sqrt(defined)
        found.append(None if mean is None or reach is None else (mean, mean - reach, mean + reach))
    return found


def _drift(content: Mapping[str, Any], name: str) -> list[LayerMean | None]:
    """As the row has it, paired."""
    own = content["drift"].get(name, {"mean": [], "low": [], "high": []})
    layers = zip(own["mean"], own["low"], own["high"], strict=True)
    return [None if None in layer else layer for layer in layers]
