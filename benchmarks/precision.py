"""Speed of input gradients in bfloat16 autocast against float32, for whole models.

    python benchmarks/precision.py [--device cuda]

A ratio above 1 means that bfloat16 is faster, as `run --search-precision bfloat16` can be.
"""

import argparse
import time

import torch
from torch import nn

from robustbench_wb.models.build import build
from robustbench_wb.models.catalogue import VARIANTS
from robustbench_wb.models.shape import ImageShape
from robustbench_wb.models.variant import Size

MODELS = (
    ("vit", Size(width=64, depth=4, heads=4), ImageShape(channels=1, height=8, width=8, classes=10, patch=2)),
    ("vit", Size(width=192, depth=6, heads=3), ImageShape(channels=3, height=64, width=64, classes=10, patch=8)),
    ("crate", Size(width=192, depth=6, heads=3), ImageShape(channels=3, height=64, width=64, classes=10, patch=8)),
)


def take_gradient(model: nn.Module, images: torch.Tensor, half_precision: bool) -> None:
    """Compute one input gradient; if ``half_precision``, with the model in bfloat16 autocast."""
    inputs = images.clone().requires_grad_(True)
    with torch.autocast(images.device.type, torch.bfloat16, enabled=half_precision):
        logits = model(inputs)
    torch.autograd.grad(logits.float().logsumexp(1).sum(), inputs)


def gradient_seconds(model: nn.Module, images: torch.Tensor, *, half_precision: bool, repeats: int) -> float:
    """Seconds of the fastest of ``repeats`` input gradients, after one that warms up."""
    times = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        take_gradient(model, images, half_precision)
        if images.is_cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return min(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    print("| model | tokens | float32 ms | bfloat16 ms | ratio |\n|---|---|---|---|---|")
    for name, size, shape in MODELS:
        variant = VARIANTS.get(name).model_copy(update={"sizes": {"size": size}})
        mean, std = [0.5] * shape.channels, [0.2] * shape.channels
        model = (
            build(variant, "size", shape, mean=mean, std=std, seed=0).to(options.device).eval().requires_grad_(False)
        )
        images = torch.rand(options.batch, shape.channels, shape.height, shape.width, device=options.device)
        whole, half = (
            gradient_seconds(model, images, half_precision=lower, repeats=options.repeats) for lower in (False, True)
        )
        label = f"{name} width {size.width}, depth {size.depth}"
        row = (label, shape.patches + 1, f"{1e3 * whole:.1f}", f"{1e3 * half:.1f}", f"{whole / half:.2f}")
        print("| " + " | ".join(map(str, row)) + " |", flush=True)


if __name__ == "__main__":
    main()
