"""Speed of native corruptions against imagecorruptions: same images, same constants, one thread, one run.

    python benchmarks/corruptions.py [--side 32] [--side 224] [--only glass-blur]

Images are tiles of two photographs. The library takes one image at a time, which is its only way; the native
corruptions take the batches of a run. Both use the constants of ImageNet-C, the only ones of the library. The two take
turns, so that a drift of the machine's speed affects both. The shortest time counts, and the speed of a corruption is
the harmonic mean over severities 1, 3 and 5. Tables of noise are built before the measurement. The last line of a table
is the whole suite: images per second through the 15 corruptions of the mean corruption error, one after the other.

The library differs in elastic-transform (no affine part) and pixelate (enlarges by the nearest pixel). It does not have
the corruptions of other benchmarks (``OTHERS``): these are timed alone.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from corruption_peers import VALIDATION, Peer, peer_corruptions
from sklearn.datasets import load_sample_images
from torch import Tensor

from robustbench_wb.analysis.curves.alexnet import COMMON
from robustbench_wb.stressors.catalogue import STRESSORS, parse_stressor
from robustbench_wb.stressors.corruptions.corruption import Corruption
from robustbench_wb.stressors.model_free import CHUNK_VALUES
from robustbench_wb.suites.suite import find_suite

SEVERITIES = (1, 3, 5)
OTHERS = tuple(
    line.use
    for suite in ("corruption-c-bar", "corruption-laion-c")
    for line in find_suite(suite).stressors
    if line.strengths
)
"""Corruptions of other benchmarks, which the library does not have."""


@dataclass(frozen=True, kw_only=True)
class CorruptionTimes:
    """Seconds per image of one corruption, means over severities."""

    name: str
    fidelity: str
    """Closeness of the native corruption to the reference implementation: E, D or A, see docs/corruption.md."""
    native: float
    """Seconds per image of the native corruption."""
    peer: float | None
    """Seconds per image of imagecorruptions; None for a corruption that it does not have."""


def photograph_tiles(side: int) -> Tensor:
    """As many images as a run perturbs at once, uint8 (B, 3, side, side)."""
    found = []
    for photograph in load_sample_images().images:
        picture = torch.tensor(photograph).permute(2, 0, 1)
        found.append(picture.unfold(1, side, side).unfold(2, side, side).permute(1, 2, 0, 3, 4).flatten(0, 1))
    tiles, count = torch.cat(found), max(1, CHUNK_VALUES // (3 * side * side))
    return tiles[torch.arange(count) % len(tiles)].contiguous()


def native(name: str, severity: int, images: Tensor) -> Callable[[], int]:
    """Function that corrupts a batch, and returns the number of images."""
    corruption = parse_stressor(f"{name};severity={severity};calibration=224")
    if not isinstance(corruption, Corruption):
        raise TypeError(f"{name} is not a corruption")
    ids = torch.arange(len(images))

    def run() -> int:
        corruption.perturb(images, ids, 0)
        return len(images)

    return run


def one_by_one(peer: Peer, severity: int, images: Tensor) -> Callable[[], int]:
    """Function that corrupts the next image, and returns 1."""
    arrays, turn = images.permute(0, 2, 3, 1).contiguous().numpy(), iter(range(10**9))

    def run() -> int:
        peer(arrays[next(turn) % len(arrays)], severity)
        return 1

    return run


def seconds_per_image(run: Callable[[], int], minimum: float) -> float:
    """CPU seconds per image of a function that corrupts images, called for at least ``minimum`` seconds."""
    count, started = 0, time.process_time()
    while (taken := time.process_time() - started) < minimum or not count:
        count += run()
    return taken / count


def measure(name: str, peer: Peer | None, *, images: Tensor, options: argparse.Namespace) -> CorruptionTimes:
    """Time one corruption of this package and of the library, if it has it, in turns."""
    means = []
    for severity in SEVERITIES:
        runs = [native(name, severity, images), *([one_by_one(peer, severity, images)] if peer else [])]
        for run in runs:
            run()
        turns = [[seconds_per_image(run, options.seconds) for run in runs] for _ in range(options.repeats)]
        means.append([min(turn[which] for turn in turns) for which in range(len(runs))])
    ours, *theirs = (sum(times) / len(times) for times in zip(*means, strict=True))
    kind = STRESSORS.get(name)
    fidelity = kind.fidelity if issubclass(kind, Corruption) else ""
    return CorruptionTimes(name=name, fidelity=fidelity, native=ours, peer=next(iter(theirs), None))


def table_row(times: CorruptionTimes) -> str:
    """Line of the table: images per second of both, and their ratio."""
    ours = f"| {times.name} | {times.fidelity} | {images_per_second(times.native)} |"
    if times.peer is None:
        return f"{ours} | |"
    return f"{ours} {images_per_second(times.peer)} | {times.peer / times.native:.1f} |"


def images_per_second(seconds: float) -> str:
    """Speed from the seconds of one image."""
    return f"{1 / seconds:,.0f}" if seconds < 0.1 else f"{1 / seconds:.2g}"


def print_table(side: int, names: Sequence[str], *, library: dict[str, Peer], options: argparse.Namespace) -> None:
    """Measure corruptions on images of ``side`` x ``side`` pixels, and print one table."""
    images = photograph_tiles(side)
    print(f"\n## {side} pixels, batches of {len(images)}: images per second\n")
    print("| corruption | fidelity | native | imagecorruptions | ratio |\n|---|---|---|---|---|")
    measured = []
    for name in names:
        measured.append(measure(name, library.get(name), images=images, options=options))
        print(table_row(measured[-1]), flush=True)
    suite = [times for times in measured if times.name in COMMON]
    if suite:
        name = f"{len(suite)} of the 15, one after the other"
        ours, theirs = sum(times.native for times in suite), sum(times.peer or 0.0 for times in suite)
        print(table_row(CorruptionTimes(name=name, fidelity="", native=ours, peer=theirs)))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--side",
        type=int,
        action="append",
        help="height and width of the images in pixels, 32 or more; may be repeated",
    )
    known = COMMON + VALIDATION + OTHERS
    parser.add_argument("--only", action="append", choices=known, help="may be repeated; default: all")
    parser.add_argument("--seconds", type=float, default=0.3, help="shortest duration of a turn")
    parser.add_argument("--repeats", type=int, default=3)
    return parser.parse_args()


def main() -> None:
    options = parse()
    torch.set_num_threads(1)
    import cv2

    cv2.setNumThreads(1)
    names = options.only or COMMON + VALIDATION + OTHERS
    print(f"torch {torch.__version__}, one thread, {options.repeats} turns of {options.seconds} s")
    library = peer_corruptions()
    for side in options.side or (32, 224):
        print_table(side, names, library=library, options=options)


if __name__ == "__main__":
    main()
