"""Time of an unperturbed evaluation against a bare loop over the same batches: what the harness costs by itself.

    python benchmarks/bare_loop.py [--samples 4096] [--turns 5]

The loop moves a batch of images to float32, asks the model and counts the correct ones. The harness also checks the
outputs, times the model, judges each sample with its loss, asks uncertain samples twice, and makes rows with intervals.
Both take turns in one process on one thread. The median of the ratios is printed with its range.
"""

import argparse
import statistics
import time

import torch
from torch import Tensor, nn

from robustbench_wb import ImageShape, build, evaluate

MODELS = (("vit", "nano", 28, 4), ("vit", "tiny", 32, 4), ("crate", "tiny", 32, 4))
"""Variant, size, side of the images and of their patches, in pixels."""
BATCH = 256


def loop(model: nn.Module, images: Tensor, labels: Tensor) -> int:
    """Correct samples, counted as briefly as PyTorch allows."""
    correct = 0
    with torch.inference_mode():
        for start in range(0, len(images), BATCH):
            logits = model(images[start : start + BATCH].float() / 255)
            correct += int((logits.argmax(1) == labels[start : start + BATCH]).sum())
    return correct


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=4096)
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    draws = torch.Generator().manual_seed(0)
    print("| model | samples | bare loop s | evaluate s | ratio | range |\n|---|---|---|---|---|---|")
    for variant, size, side, patch in MODELS:
        shape = ImageShape(channels=1, height=side, width=side, classes=10, patch=patch)
        model = build(variant, size=size, shape=shape).eval()
        images = torch.randint(0, 256, (options.samples, 1, side, side), dtype=torch.uint8, generator=draws)
        labels = torch.randint(0, 10, (options.samples,), generator=draws)
        times: list[tuple[float, float]] = []
        for _ in range(options.turns):
            started = time.perf_counter()
            loop(model, images, labels)
            between = time.perf_counter()
            evaluate(model, images, labels, stressors=["clean"], batch_size=BATCH)
            times.append((between - started, time.perf_counter() - between))
        bare, ours = (statistics.median(one) for one in zip(*times, strict=True))
        ratios = [one / other for other, one in times]
        middle, ends = statistics.median(ratios), f"{min(ratios):.2f}-{max(ratios):.2f}"
        print(f"| {variant} {size} | {options.samples} | {bare:.2f} | {ours:.2f} | {middle:.2f} | {ends} |", flush=True)


if __name__ == "__main__":
    main()
