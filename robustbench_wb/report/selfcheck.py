"""Result of a selfcheck (A/A test) as text: a headline, then a row per cell."""

from typing import Final

from robustbench_wb.analysis.gate.noise_floor import CellNoise, NoiseFloor
from robustbench_wb.records.names import cell_name, variant_name
from robustbench_wb.report.text_block import Column, TextBlock, counted

_COLUMNS: Final = (
    Column("model"),
    Column("cell"),
    Column("n", "right"),
    Column("flips", "right"),
    Column("difference", "right"),
    Column("floor", "right"),
    Column("losses", "right"),
    Column("seconds", "right"),
)


def selfcheck_blocks(noise: NoiseFloor) -> list[TextBlock]:
    """Headline with a row per cell, then the varied settings and the legend."""
    rows = tuple(map(_row, noise.cells))
    failed = tuple(f"{_model(cell)} {_label(cell)}: {cell.error}" for cell in noise.cells if cell.error)
    return [
        TextBlock(selfcheck_headline(noise), columns=_COLUMNS, rows=rows, notes=failed),
        TextBlock(notes=tuple(_legend(noise))),
    ]


def selfcheck_headline(noise: NoiseFloor) -> str:
    """Summary of the runs, like ``3 runs: no outcome changed in 7 cells, 5 of them bit-identical``."""
    measured = [cell for cell in noise.cells if not cell.error]
    moved = [cell for cell in measured if cell.floor]
    same = sum(cell.identical for cell in measured)
    found = f"outcomes changed in {len(moved)} of {counted(len(measured), 'cell')}" if moved else "no outcome changed"
    found += f" in {counted(len(measured), 'cell')}" if not moved else ""
    parts = [f"{counted(len(noise.settings), 'run')}: {found}, {same} of them bit-identical"]
    if any(len(cell.weights) > 1 for cell in noise.cells):
        parts.append("retraining gave a model different weights")
    elif noise.retrained:
        parts.append("retraining gave every model the same weights")
    if len(measured) < len(noise.cells):
        parts.append(f"{counted(len(noise.cells) - len(measured), 'cell')} not measured by every run")
    return "; ".join(parts)


def _row(cell: CellNoise) -> tuple[str, ...]:
    named = (_model(cell), _label(cell), str(cell.n))
    if not cell.seconds:
        return (*named, *("",) * 5)
    bits = "same" if cell.identical else f"{cell.loss_gap:.1e}"
    times = f"{min(cell.seconds):.2f} to {max(cell.seconds):.2f}"
    return (*named, str(cell.flips), _percent(cell, cell.spread), _percent(cell, cell.floor), bits, times)


def _model(cell: CellNoise) -> str:
    return f"{cell.task} {variant_name(cell)}"


def _label(cell: CellNoise) -> str:
    return cell_name(cell.stressor, cell.strength)


def _percent(cell: CellNoise, value: float) -> str:
    """Value in points of accuracy; nats of a loss are approximately percent of perplexity."""
    return f"{100 * value:.2f}" + ("" if cell.metric == "accuracy" else "%")


def _legend(noise: NoiseFloor) -> list[str]:
    batches = ", ".join("default" if one.batch is None else str(one.batch) for one in noise.settings)
    threads = ", ".join(str(one.threads) for one in noise.settings)
    return [
        f"varied: batch size {batches}; threads {threads}; order of models and perturbations",
        "flips: samples whose state differs between runs; difference: largest between two runs, in points",
        "floor: noise floor that `gate --noise` adds to the margin, as if all flips went in one direction",
        "losses: largest difference of one sample's loss between two runs (nats); same: bit-identical",
    ]
