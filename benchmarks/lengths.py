"""Memory and time of long sequences: every variant at its smallest size, each in a fresh process of one thread.

    python benchmarks/lengths.py --csv lengths.csv [--svg lengths.svg] [--variant NAME]...
    python benchmarks/lengths.py --read lengths.csv --svg lengths.svg

Memory is the peak of the whole process, torch included, over training steps (forward, backward, AdamW) on 4 texts of
4,096 tokens: two with texts of unequal lengths, then two without padding. Time is of one forward pass of one text, the
least of a few, in seconds of processor time, which a busy machine disturbs less than wall time. The exponent of the
power law ``seconds = c * tokens^e`` is fitted to the logarithms; its standard error says how far it is from one.
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
from robustbench_wb.models.shape import PAD, TextShape

LENGTHS = (256, 512, 1024, 2048, 4096)
BATCH = 4
SHAPE = TextShape(vocabulary=261, length=LENGTHS[-1], classes=10)


@dataclass(frozen=True)
class Row:
    """What one variant takes; memory in megabytes of 2^20 bytes."""

    variant: str
    size: str
    peak_mb: float
    step_seconds: float
    seconds: tuple[float, ...]
    """Of a forward pass, at each of ``LENGTHS``."""
    exponent: float
    standard_error: float


def smallest(name: str) -> str:
    """The size of a variant with the fewest numbers in the stream."""
    sizes = VARIANTS.get(name).sizes
    return min(sizes, key=lambda size: sizes[size].width * sizes[size].depth)


def make(name: str) -> nn.Module:
    """The variant, for texts."""
    return build(VARIANTS.get(name), smallest(name), SHAPE, seed=0)


def texts(batch: int, tokens: int, padded: bool) -> Tensor:
    """Token ids (batch, tokens); ``padded``: the first row is full, each later one a fourth shorter."""
    ids = torch.randint(1, SHAPE.vocabulary, (batch, tokens), generator=torch.Generator().manual_seed(tokens))
    for row in range(1, batch if padded else 0):
        ids[row, int(tokens * 0.75**row) :] = PAD
    return ids


def processor_seconds(work: Callable[[], object]) -> float:
    """What one call takes."""
    started = time.process_time()
    work()
    return time.process_time() - started


def peak_mb() -> float:
    """The most memory that this process has held at once.

    On Linux by the kernel's own mark: ``ru_maxrss`` is never below what the parent held when it started the process.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def train(name: str, tokens: int = LENGTHS[-1], steps: int = 2) -> float:
    """So many steps with padding, and as many without; the least seconds of one."""
    model, labels = make(name), torch.arange(BATCH) % SHAPE.classes
    optimiser = torch.optim.AdamW(model.parameters())

    def step(ids: Tensor) -> None:
        optimiser.zero_grad()
        functional.cross_entropy(model(ids), labels).backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    batches = [texts(BATCH, tokens, padded) for padded in (True,) * steps + (False,) * steps]
    return min(processor_seconds(lambda ids=ids: step(ids)) for ids in batches)  # type: ignore[misc]


@torch.no_grad()
def forward(name: str, repeats: int) -> tuple[float, ...]:
    """The least seconds of a pass, at each length."""
    model = make(name).eval()
    model(texts(1, LENGTHS[0], False))
    inputs = [texts(1, tokens, False) for tokens in LENGTHS]
    return tuple(min(processor_seconds(lambda ids=ids: model(ids)) for _ in range(repeats)) for ids in inputs)  # type: ignore[misc]


def measure(name: str, repeats: int) -> Row:
    """A row, in a process that has done nothing else."""
    torch.set_num_threads(1)
    step = train(name)
    peak = peak_mb()
    seconds = forward(name, repeats)
    fit = linregress(torch.tensor(LENGTHS).log(), torch.tensor(seconds).log())
    return Row(name, smallest(name), peak, step, seconds, float(fit.slope), float(fit.stderr))


def show(rows: list[Row]) -> None:
    """The table on the terminal."""
    table = Table(title=f"torch {torch.__version__}, one thread; step: {BATCH} x {LENGTHS[-1]} tokens")
    for heading in ("variant", "size", "peak MB", "step s", *(f"s at {n}" for n in LENGTHS), "exponent"):
        table.add_column(heading, justify="left" if heading in ("variant", "size") else "right")
    for row in rows:
        passes = [f"{seconds:.3f}" for seconds in row.seconds]
        power = f"{row.exponent:.2f} ± {row.standard_error:.2f}"
        table.add_row(row.variant, row.size, f"{row.peak_mb:.0f}", f"{row.step_seconds:.1f}", *passes, power)
    Console(width=150).print(table)


def write(rows: list[Row], path: Path) -> None:
    """The table as CSV, a column per length."""
    with path.open("w", newline="") as file:
        lines = [asdict(row) for row in rows]
        for line in lines:
            line |= {f"seconds_{n}": seconds for n, seconds in zip(LENGTHS, line.pop("seconds"), strict=True)}
        writer = csv.DictWriter(file, lines[0])
        writer.writeheader()
        writer.writerows(lines)


def read(path: Path) -> list[Row]:
    """What :func:`write` wrote."""
    with path.open(newline="") as file:
        lines = list(csv.DictReader(file))
    names = [f"seconds_{n}" for n in LENGTHS]
    numbers = ("peak_mb", "step_seconds", "exponent", "standard_error")
    return [
        Row(
            variant=line["variant"],
            size=line["size"],
            seconds=tuple(float(line[name]) for name in names),
            **{name: float(line[name]) for name in numbers},
        )
        for line in lines
    ]


def draw(rows: list[Row], path: Path) -> None:
    """Seconds against tokens, both logarithmic, with the slope of a square beside them; named at the right end."""
    figure = Figure(figsize=(8, 9), layout="constrained")
    axes = figure.subplots()
    axes.set_prop_cycle(cycler(linestyle=["-", ":", "-."]) * rcParams["axes.prop_cycle"])
    lines = [axes.loglog(LENGTHS, row.seconds, marker=".", linewidth=1)[0] for row in rows]
    square = [0.002 * (n / LENGTHS[0]) ** 2 for n in LENGTHS]
    axes.loglog(LENGTHS, square, color="grey", linestyle="--")
    order = sorted(range(len(rows)), key=lambda at: -rows[at].seconds[-1])
    labels = [f"{rows[at].variant} {rows[at].exponent:.2f}" for at in order]
    handles = [lines[at] for at in order]
    axes.legend(
        handles, labels, title="variant, exponent", fontsize="xx-small", loc="center left", bbox_to_anchor=(1, 0.5)
    )
    axes.set(xlabel="tokens", ylabel="seconds of a forward pass of one text, one thread; dashed: a square")
    axes.set_xticks(LENGTHS, [f"{n:,}" for n in LENGTHS])
    axes.minorticks_off()
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--csv", type=Path, help="where to write the table")
    parser.add_argument("--svg", type=Path, help="where to draw seconds against tokens")
    parser.add_argument("--read", type=Path, help="a table measured before; nothing is measured then")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--variant", action="append", help="a registered name; may be repeated; default: all")
    options = parser.parse_args()
    rows = read(options.read) if options.read else []
    for name in [] if options.read else options.variant or VARIANTS.names():
        with multiprocessing.get_context("spawn").Pool(1) as fresh:
            rows.append(fresh.apply(measure, (name, options.repeats)))
        print(
            f"{name}: {rows[-1].peak_mb:.0f} MB, a step in {rows[-1].step_seconds:.1f} s", file=sys.stderr, flush=True
        )
    show(rows)
    if options.csv:
        write(rows, options.csv)
    if options.svg:
        draw(rows, options.svg)


if __name__ == "__main__":
    main()
