"""Forward and backward time of every variant, relative to ``vit`` of the same width, depth and heads.

    python benchmarks/variants.py [--width 192] [--depth 4] [--heads 3] [--batch 16] [--repeats 30] [--variant NAME]...

``vit`` and the variant take turns, so that a drift of the machine's speed affects both. Each turn gives one ratio; the
median and the quartiles of the ratios are printed. 50 tokens are 7 x 7 patches and a class token, 197 are 14 x 14
patches and a class token. One pass is a training step without the optimiser: logits, cross-entropy, gradients of all
weights.
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
from robustbench_wb.models.data_built_variant import DataBuiltVariant
from robustbench_wb.models.shape import ImageShape
from robustbench_wb.models.variant import Size

BASE = "vit"
PATCH = 4
SIDES = (7, 14)
CLASSES = 10


@dataclass(frozen=True, kw_only=True)
class VariantTime:
    """Time of a variant at a number of tokens."""

    variant: str
    tokens: int
    parameters: int
    milliseconds: float
    """Median time of one forward and backward pass."""
    ratio: float
    """Median time relative to ``vit``."""
    low: float
    """Lower quartile of the ratios."""
    high: float
    """Upper quartile of the ratios."""


def make_model(name: str, size: Size, side: int) -> nn.Module:
    """Build a variant of a given size for images of ``side`` x ``side`` patches."""
    shape = ImageShape(channels=3, height=side * PATCH, width=side * PATCH, classes=CLASSES, patch=PATCH)
    variant = VARIANTS.get(name).model_copy(update={"sizes": {"same": size}})
    return build(variant, "same", shape, mean=[0.5] * 3, std=[0.25] * 3, seed=0)


def pass_seconds(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Wall time of one forward and backward pass."""
    started = time.perf_counter()
    torch.autograd.grad(functional.cross_entropy(model(images), labels), list(model.parameters()))
    return time.perf_counter() - started


def compare(name: str, size: Size, *, side: int, batch: int, repeats: int) -> VariantTime:
    """Time a variant in ``repeats`` turns, each relative to the mean of the passes of ``vit`` before and after."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(batch, 3, side * PATCH, side * PATCH, generator=generator)
    labels = torch.randint(CLASSES, (batch,), generator=generator)
    base, model = make_model(BASE, size, side), make_model(name, size, side)
    for warm in (base, model):
        pass_seconds(warm, images, labels)
        pass_seconds(warm, images, labels)
    taken, ratios = [], []
    before = pass_seconds(base, images, labels)
    for _ in range(repeats):
        own = pass_seconds(model, images, labels)
        after = pass_seconds(base, images, labels)
        taken.append(own)
        ratios.append(2 * own / (before + after))
        before = after
    low, _, high = statistics.quantiles(ratios, n=4)
    count = sum(parameter.numel() for parameter in model.parameters())
    return VariantTime(
        variant=name,
        tokens=side**2 + 1,
        parameters=count,
        milliseconds=1000 * statistics.median(taken),
        ratio=statistics.median(ratios),
        low=low,
        high=high,
    )


def measure(options: argparse.Namespace) -> Iterator[VariantTime]:
    """Measure every variant at every number of tokens."""
    size = Size(width=options.width, depth=options.depth, heads=options.heads)
    # The filters of a variant built from data grow with the classes: at the width of the others they fill the memory.
    others = [name for name in VARIANTS.names() if not isinstance(VARIANTS.get(name), DataBuiltVariant)]
    for name in options.variant or others:
        for side in SIDES:
            yield compare(name, size, side=side, batch=options.batch, repeats=options.repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--heads", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument(
        "--variant", action="append", help="name of a variant; may be repeated; default: all but redunet"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per line instead of the table")
    options = parser.parse_args()
    if not options.json:
        print(f"width {options.width}, depth {options.depth}, {options.heads} heads, batch {options.batch}")
        print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {options.repeats} turns each")
        print(f"\n| variant | tokens | parameters | ms | times {BASE} | quartiles |")
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
