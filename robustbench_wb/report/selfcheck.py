"""An A/A test as text: whether anything moved, then every cell."""

from typing import Final

from robustbench_wb.analysis.gate.noise_floor import CellNoise, NoiseFloor
from robustbench_wb.records.names import cell_name, variant_name
from robustbench_wb.report.text_block import Column, TextBlock

_COLUMNS: Final = (
    Column("subject"),
    Column("cell"),
    Column("n", "right"),
    Column("flips", "right"),
    Column("difference", "right"),
    Column("floor", "right"),
    Column("losses", "right"),
    Column("seconds", "right"),
)


def selfcheck_blocks(noise: NoiseFloor) -> list[TextBlock]:
    """The verdict; the cells; what was varied and what the columns say."""
    rows = tuple(map(_row, noise.cells))
    failed = tuple(f"{_subject(cell)} {_label(cell)}: {cell.error}" for cell in noise.cells if cell.error)
    return [TextBlock(selfcheck_headline(noise), _COLUMNS, rows, failed), TextBlock("", (), (), tuple(_legend(noise)))]


def selfcheck_headline(noise: NoiseFloor) -> str:
    """``3 runs: no verdict changed in 7 cells, 5 of them the same to the byte``."""
    measured = [cell for cell in noise.cells if not cell.error]
    moved = [cell for cell in measured if cell.floor]
    same = sum(cell.identical for cell in measured)
    found = f"verdicts changed in {len(moved)} of {len(measured)} cells" if moved else "no verdict changed"
    found += f" in {len(measured)} cells" if not moved else ""
    parts = [f"{len(noise.settings)} runs: {found}, {same} of them the same to the byte"]
    if any(len(cell.weights) > 1 for cell in noise.cells):
        parts.append("trained again, a subject has other weights")
    elif noise.retrained:
        parts.append("trained again, every subject has the same weights")
    if len(measured) < len(noise.cells):
        parts.append(f"{len(noise.cells) - len(measured)} cells could not be measured each time")
    return "; ".join(parts)


def _row(cell: CellNoise) -> tuple[str, ...]:
    named = (_subject(cell), _label(cell), str(cell.n))
    if not cell.seconds:
        return (*named, *("",) * 5)
    bits = "same" if cell.identical else f"{cell.loss_gap:.1e}"
    times = f"{min(cell.seconds):.2f} to {max(cell.seconds):.2f}"
    return (*named, str(cell.flips), _percent(cell, cell.spread), _percent(cell, cell.floor), bits, times)


def _subject(cell: CellNoise) -> str:
    return f"{cell.task} {variant_name(cell)}"


def _label(cell: CellNoise) -> str:
    return cell_name(cell.stressor, cell.strength)


def _percent(cell: CellNoise, value: float) -> str:
    """Points of accuracy; of a logarithm, about percent of perplexity."""
    return f"{100 * value:.2f}" + ("" if cell.metric == "accuracy" else "%")


def _legend(noise: NoiseFloor) -> list[str]:
    batches = ", ".join("own" if one.batch is None else str(one.batch) for one in noise.settings)
    threads = ", ".join(str(one.threads) for one in noise.settings)
    return [
        f"varied: batch size {batches}; threads {threads}; order of subjects and stressors",
        "flips: samples whose state is not the same in all runs; difference: largest of two runs, in points",
        "floor: what `gate --noise` adds to the margin, all flips in one direction",
        "losses: the largest difference of one sample's in two runs (nats), or the same bytes",
    ]
