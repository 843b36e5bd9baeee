"""Memory and time of long sequences: every variant at its smallest size, each in a new process of one thread.

    python benchmarks/lengths.py --csv lengths.csv [--svg lengths.svg] [--variant NAME]...
    python benchmarks/lengths.py --read lengths.csv --svg lengths.svg

Memory is the peak of the whole process, torch included, over training steps (forward, backward, AdamW) on 4 texts of
4,096 tokens: two steps on texts of unequal lengths, then two without padding. Time is the shortest of repeated forward
passes of one text, in seconds of processor time, which a busy machine disturbs less than wall time. The exponent e of
the power law ``seconds = c * tokens^e`` is fitted to the logarithms; its standard error is that of the linear
regression.
"""

import argparse
import csv
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from cycler import cycler
from matplotlib import rcParams
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from scipy.stats import linregress
from torch import Tensor, nn
from torch.nn import functional

from robustbench_wb.models.build import build
from robustbench_wb.models.catalogue import VARIANTS
from robustbench_wb.models.data_built_variant import DataBuiltVariant
from robustbench_wb.models.shape import PAD, TextShape

LENGTHS = (256, 512, 1024, 2048, 4096)
BATCH = 4
SHAPE = TextShape(vocabulary=261, length=LENGTHS[-1], classes=10)


@dataclass(frozen=True, kw_only=True)
class LengthCost:
    """Memory and time of one variant."""

    variant: str
    size: str
    peak_mb: float
    """Peak memory of the process in units of 2^20 bytes."""
    step_seconds: float
    """Seconds of the fastest training step."""
    seconds: tuple[float, ...]
    """Seconds of the fastest forward pass at each of ``LENGTHS``."""
    exponent: float
    """Exponent of the power law of seconds over tokens."""
    standard_error: float
    """Standard error of the exponent."""


def smallest_size(name: str) -> str:
    """Name of the size of a variant with the smallest product of width and depth."""
    sizes = VARIANTS.get(name).sizes
    return min(sizes, key=lambda size: sizes[size].width * sizes[size].depth)


def make_model(name: str) -> nn.Module:
    """Build a variant for texts, at its smallest size."""
    return build(VARIANTS.get(name), smallest_size(name), SHAPE, seed=0)


def texts(batch: int, tokens: int, padded: bool) -> Tensor:
    """Random token ids (batch, tokens). If ``padded``, each row is a fourth shorter than the row before."""
    ids = torch.randint(1, SHAPE.vocabulary, (batch, tokens), generator=torch.Generator().manual_seed(tokens))
    for row in range(1, batch if padded else 0):
        ids[row, int(tokens * 0.75**row) :] = PAD
    return ids


def processor_seconds(work: Callable[[], object]) -> float:
    """Processor time of one call in seconds."""
    started = time.process_time()
    work()
    return time.process_time() - started


def peak_mb() -> float:
    """Peak memory of this process in units of 2^20 bytes.

    Linux reports it as VmHWM; ``ru_maxrss`` is there at least the memory of the parent when it started the process.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def train_seconds(name: str, batches: list[Tensor]) -> float:
    """Seconds of the fastest training step, among one for each batch of token ids."""
    model = make_model(name)
    optimiser = torch.optim.AdamW(model.parameters())

    def step(ids: Tensor) -> None:
        optimiser.zero_grad()
        labels = torch.arange(len(ids)) % SHAPE.classes
        functional.cross_entropy(model(ids), labels).backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    return min(processor_seconds(lambda ids=ids: step(ids)) for ids in batches)  # type: ignore[misc]


@torch.no_grad()
def forward_seconds(name: str, repeats: int) -> tuple[float, ...]:
    """Seconds of the fastest of ``repeats`` forward passes, at each of ``LENGTHS``."""
    model = make_model(name).eval()
    model(texts(1, LENGTHS[0], False))
    inputs = [texts(1, tokens, False) for tokens in LENGTHS]
    return tuple(min(processor_seconds(lambda ids=ids: model(ids)) for _ in range(repeats)) for ids in inputs)  # type: ignore[misc]


def measure(name: str, repeats: int) -> LengthCost:
    """Measure one variant. The process must have done nothing else, since its peak memory is measured."""
    torch.set_num_threads(1)
    step = train_seconds(name, [texts(BATCH, LENGTHS[-1], padded) for padded in (True, True, False, False)])
    peak = peak_mb()
    seconds = forward_seconds(name, repeats)
    fit = linregress(torch.tensor(LENGTHS).log(), torch.tensor(seconds).log())
    return LengthCost(
        variant=name,
        size=smallest_size(name),
        peak_mb=peak,
        step_seconds=step,
        seconds=seconds,
        exponent=float(fit.slope),
        standard_error=float(fit.stderr),
    )


def print_table(rows: list[LengthCost]) -> None:
    """Print the table in the terminal."""
    table = Table(title=f"torch {torch.__version__}, one thread; step: {BATCH} x {LENGTHS[-1]} tokens")
    for heading in ("variant", "size", "peak MB", "step s", *(f"s at {n}" for n in LENGTHS), "exponent"):
        table.add_column(heading, justify="left" if heading in ("variant", "size") else "right")
    for row in rows:
        passes = [f"{seconds:.3f}" for seconds in row.seconds]
        power = f"{row.exponent:.2f} ± {row.standard_error:.2f}"
        table.add_row(row.variant, row.size, f"{row.peak_mb:.0f}", f"{row.step_seconds:.1f}", *passes, power)
    Console(width=150).print(table)


def write_csv(rows: list[LengthCost], path: Path) -> None:
    """Write the table as CSV, with one column of seconds per length."""
    with path.open("w", newline="") as file:
        lines = [asdict(row) for row in rows]
        for line in lines:
            line |= {f"seconds_{n}": seconds for n, seconds in zip(LENGTHS, line.pop("seconds"), strict=True)}
        writer = csv.DictWriter(file, lines[0])
        writer.writeheader()
        writer.writerows(lines)


def read_csv(path: Path) -> list[LengthCost]:
    """Read a table that :func:`write_csv` wrote."""
    with path.open(newline="") as file:
        lines = list(csv.DictReader(file))
    names = [f"seconds_{n}" for n in LENGTHS]
    return [
        LengthCost(
            variant=line["variant"],
            size=line["size"],
            seconds=tuple(float(line[name]) for name in names),
            peak_mb=float(line["peak_mb"]),
            step_seconds=float(line["step_seconds"]),
            exponent=float(line["exponent"]),
            standard_error=float(line["standard_error"]),
        )
        for line in lines
    ]


def draw(rows: list[LengthCost], path: Path) -> None:
    """Draw seconds over tokens on logarithmic axes, with a dashed line of quadratic growth, and a legend."""
    figure = Figure(figsize=(8, 9), layout="constrained")
    axes = figure.subplots()
    axes.set_prop_cycle(cycler(linestyle=["-", ":", "-."]) * rcParams["axes.prop_cycle"])
    lines = [axes.loglog(LENGTHS, row.seconds, marker=".", linewidth=1)[0] for row in rows]
    quadratic = [0.002 * (n / LENGTHS[0]) ** 2 for n in LENGTHS]
    axes.loglog(LENGTHS, quadratic, color="grey", linestyle="--")
    order = sorted(range(len(rows)), key=lambda at: -rows[at].seconds[-1])
    labels = [f"{rows[at].variant} {rows[at].exponent:.2f}" for at in order]
    handles = [lines[at] for at in order]
    axes.legend(
        handles, labels, title="variant, exponent", fontsize="xx-small", loc="center left", bbox_to_anchor=(1, 0.5)
    )
    axes.set(xlabel="tokens", ylabel="seconds of a forward pass of one text, one thread; dashed: quadratic")
    axes.set_xticks(LENGTHS, [f"{n:,}" for n in LENGTHS])
    axes.minorticks_off()
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--csv", type=Path, help="file to write the table to")
    parser.add_argument("--svg", type=Path, help="file to draw seconds over tokens to")
    parser.add_argument("--read", type=Path, help="read this table instead of measuring")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--variant", action="append", help="name of a variant; may be repeated; default: all of texts")
    options = parser.parse_args()
    rows = read_csv(options.read) if options.read else []
    readers = [name for name in VARIANTS.names() if not isinstance(VARIANTS.get(name), DataBuiltVariant)]
    for name in [] if options.read else options.variant or readers:
        with multiprocessing.get_context("spawn").Pool(1) as process:
            rows.append(process.apply(measure, (name, options.repeats)))
        print(
            f"{name}: {rows[-1].peak_mb:.0f} MB, a step in {rows[-1].step_seconds:.1f} s", file=sys.stderr, flush=True
        )
    print_table(rows)
    if options.csv:
        write_csv(rows, options.csv)
    if options.svg:
        draw(rows, options.svg)


if __name__ == "__main__":
    main()
