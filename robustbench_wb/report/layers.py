"""Layer measures of a model as tables and as JSON."""

import json
import math
from collections.abc import Iterable

from robustbench_wb.engine.layers import StressedLayers, SubjectLayers
from robustbench_wb.layers.table import MEASURES, LayerTable
from robustbench_wb.records.names import variant_name
from robustbench_wb.report.text_block import Column, TextBlock, counted

_FORMULAS = "formulas and conventions: docs/layers.md"


def layer_blocks(layers: SubjectLayers) -> list[TextBlock]:
    """One table for clean inputs, and one per perturbation with the drift from the clean inputs."""
    title = f"{variant_name(layers)} on {layers.task}, recipe {layers.recipe}, seed {layers.seed}: layers"
    return [_clean_block(f"{title}, clean", layers.clean), *(_stressed_block(title, one) for one in layers.stressed)]


def layers_json(layers: SubjectLayers) -> str:
    """JSON object with names, sample counts, and per measure a list with one entry per layer; null if undefined."""
    names = ("task", "variant", "size", "recipe", "seed")
    content = {
        **{name: getattr(layers, name) for name in names},
        "clean": {"samples": len(layers.clean.ids), "measures": layers.clean.plain()},
        "stressed": [
            {
                "signature": one.signature,
                "samples": len(one.stressed.ids),
                "clean": one.clean.plain(),
                "measures": one.stressed.plain(),
                "drift": {name: found.plain() for name, found in one.drift.items()},
            }
            for one in layers.stressed
        ],
    }
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)


def _clean_block(title: str, table: LayerTable) -> TextBlock:
    columns = (Column("measure"), *(Column(name, "right") for name in ("layer", "mean", "std")))
    lines = []
    for name in _measured(table):
        mean, std = table.mean(name), table.std(name)
        lines += [(name, str(i + 1), _number(mean[i]), _number(std[i])) for i in _layers(table, name)]
    notes = [f"n = {len(table.ids)}; mean and standard deviation over samples; {_FORMULAS}", *_gaps(table)]
    return TextBlock(title, columns=columns, rows=tuple(lines), notes=tuple(notes))


def _stressed_block(title: str, one: StressedLayers) -> TextBlock:
    headings = ("layer", "clean", "perturbed", "drift", "95 %")
    columns = (Column("measure"), *(Column(name, "right") for name in headings))
    lines = []
    for name in _measured(one.stressed):
        clean, stressed, moved = one.clean.mean(name), one.stressed.mean(name), one.drift[name]
        for i in _layers(one.stressed, name):
            interval = f"[{_number(moved.low[i], '+')}, {_number(moved.high[i], '+')}]"
            numbers = (_number(clean[i]), _number(stressed[i]), _number(moved.mean[i], "+"), interval)
            lines.append((name, str(i + 1), *numbers))
    notes = [
        f"n = {len(one.stressed.ids)}, perturbed; drift: mean paired difference from the clean samples",
        *_gaps(one.stressed),
    ]
    return TextBlock(f"{title}, {one.signature}", columns=columns, rows=tuple(lines), notes=tuple(notes))


def _measured(table: LayerTable) -> list[str]:
    """Names of the measures that are defined for at least one sample, in table order."""
    return [name for name in MEASURES if table.defined(name).any()]


def _layers(table: LayerTable, name: str) -> list[int]:
    """Indices of the layers in which a measure is defined for at least one sample."""
    return [i for i, defined in enumerate(table.defined(name)) if defined]


def _gaps(table: LayerTable) -> Iterable[str]:
    """Notes on measures that are undefined in some layers or for some samples."""
    for name in MEASURES:
        layers = _layers(table, name)
        least = min((int(table.defined(name)[i]) for i in layers), default=0)
        if not layers:
            yield f"{name}: not defined for this model"
        elif len(layers) < table.layers:
            yield f"{name}: defined in {len(layers)} of {counted(table.layers, 'layer')}"
        if layers and least < len(table.ids):
            yield f"{name}: defined for as few as {counted(least, 'sample')} in a layer"


def _number(value: float, sign: str = "") -> str:
    return f"{value:{sign}.3f}" if math.isfinite(value) else "-"
