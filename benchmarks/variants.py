"""Forward and backward time of every variant against ``vit`` of the same width, depth and heads, as ratios.

    python benchmarks/variants.py [--width 192] [--depth 4] [--heads 3] [--batch 16] [--repeats 30] [--variant NAME]...

``vit`` and the variant take turns, so that a drift of the machine's speed hits both; each turn gives one ratio, and the
median of them is printed with their quartiles. 50 tokens are 7 x 7 patches and a class token, 197 are 14 x 14 and one.
One pass is what training does: logits, cross-entropy, gradients of all weights.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from robustbench_wb.models.build import build
from robustbench_wb.models.catalogue import VARIANTS
from robustbench_wb.models.shape import ImageShape
from robustbench_wb.models.variant import Size

BASE = "vit"
PATCH = 4
SIDES = (7, 14)
CLASSES = 10


@dataclass(frozen=True)
class Ratio:
    """One cell of the table: a variant at a number of tokens."""

    variant: str
    tokens: int
    parameters: int
    milliseconds: float
    ratio: float
    low: float
    high: float


def make(name: str, size: Size, side: int) -> nn.Module:
    """The variant at the size asked for, whatever sizes it is published at."""
    shape = ImageShape(channels=3, height=side * PATCH, width=side * PATCH, classes=CLASSES, patch=PATCH)
    variant = VARIANTS.get(name).model_copy(update={"sizes": {"same": size}})
    return build(variant, "same", shape, mean=[0.5] * 3, std=[0.25] * 3, seed=0)


def seconds(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Wall time of one forward and backward pass."""
    started = time.perf_counter()
    torch.autograd.grad(functional.cross_entropy(model(images), labels), list(model.parameters()))
    return time.perf_counter() - started


def compare(name: str, size: Size, side: int, batch: int, repeats: int) -> Ratio:
    """Ratios of ``repeats`` turns, each the mean of the variant's neighbours against the variant."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(batch, 3, side * PATCH, side * PATCH, generator=generator)
    labels = torch.randint(CLASSES, (batch,), generator=generator)
    base, model = make(BASE, size, side), make(name, size, side)
    for warm in (base, model):
        seconds(warm, images, labels)
        seconds(warm, images, labels)
    taken, ratios = [], []
    before = seconds(base, images, labels)
    for _ in range(repeats):
        own = seconds(model, images, labels)
        after = seconds(base, images, labels)
        taken.append(own)
        ratios.append(2 * own / (before + after))
        before = after
    low, _, high = statistics.quantiles(ratios, n=4)
    count = sum(parameter.numel() for parameter in model.parameters())
    return Ratio(name, side**2 + 1, count, 1000 * statistics.median(taken), statistics.median(ratios), low, high)


def measure(options: argparse.Namespace) -> Iterator[Ratio]:
    """All cells, variant by variant."""
    size = Size(width=options.width, depth=options.depth, heads=options.heads)
    for name in options.variant or VARIANTS.names():
        for side in SIDES:
            yield compare(name, size, side, options.batch, options.repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--heads", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--variant", action="append", help="a registered name; may be repeated; default: all")
    parser.add_argument("--json", action="store_true", help="one JSON object a line instead of the table")
    options = parser.parse_args()
    if not options.json:
        print(f"width {options.width}, depth {options.depth}, {options.heads} heads, batch {options.batch}")
        print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {options.repeats} turns each")
        print(f"| variant | tokens | parameters | ms | times {BASE} | quartiles |")
        print("|---|---|---|---|---|---|")
    for cell in measure(options):
        if options.json:
            print(json.dumps(asdict(cell)), flush=True)
        else:
            shares = f"{cell.ratio:.2f} | {cell.low:.2f} to {cell.high:.2f}"
            print(
                f"| {cell.variant} | {cell.tokens} | {cell.parameters:,} | {cell.milliseconds:.1f} | {shares} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
