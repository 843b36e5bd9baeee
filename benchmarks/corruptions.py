"""Native corruptions against imagecorruptions: same images, same constants, one thread each, one run, as ratios.

    python benchmarks/corruptions.py [--side 32] [--side 224] [--only glass-blur]

Images are tiles of two photographs. The library takes them one by one, as it is made to; this harness in the batches
that it also uses in a run. Both have the ImageNet-C constants, which are the only ones of the library. The two take
turns, so that a drift of the machine's speed hits both; a speed is the best of the turns, and that of a corruption the
harmonic mean of severities 1, 3 and 5. What is built once (tables of noise) is built before. The last lines are the
whole suite: images a second through the 15 of the mean corruption error, one after the other.

The library does something else in elastic-transform (no affine part) and pixelate (enlarges by the nearest pixel).
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from corruption_peers import VALIDATION, Peer, peers
from sklearn.datasets import load_sample_images
from torch import Tensor

from robustbench_wb.analysis.curves.alexnet import COMMON
from robustbench_wb.stressors.catalogue import STRESSORS, parse_stressor
from robustbench_wb.stressors.corruptions.corruption import Corruption
from robustbench_wb.stressors.model_free import CHUNK_VALUES

SEVERITIES = (1, 3, 5)


@dataclass(frozen=True)
class Speed:
    """Of one corruption: seconds for an image, the mean over severities."""

    name: str
    fidelity: str
    native: float
    peer: float


def pictures(side: int) -> Tensor:
    """As many images as a run perturbs at once: uint8 (B, 3, side, side)."""
    found = []
    for photograph in load_sample_images().images:
        picture = torch.tensor(photograph).permute(2, 0, 1)
        found.append(picture.unfold(1, side, side).unfold(2, side, side).permute(1, 2, 0, 3, 4).flatten(0, 1))
    tiles, count = torch.cat(found), max(1, CHUNK_VALUES // (3 * side * side))
    return tiles[torch.arange(count) % len(tiles)].contiguous()


def native(name: str, severity: int, images: Tensor) -> Callable[[], int]:
    """Corrupts a batch; gives the number of images."""
    corruption = parse_stressor(f"{name};severity={severity};calibration=224")
    if not isinstance(corruption, Corruption):
        raise TypeError(f"{name} is no corruption")
    ids = torch.arange(len(images))

    def run() -> int:
        corruption.perturb(images, ids, 0)
        return len(images)

    return run


def one_by_one(peer: Peer, severity: int, images: Tensor) -> Callable[[], int]:
    """Corrupts the next image."""
    arrays, turn = images.permute(0, 2, 3, 1).contiguous().numpy(), iter(range(10**9))

    def run() -> int:
        peer(arrays[next(turn) % len(arrays)], severity)
        return 1

    return run


def seconds(run: Callable[[], int], least: float) -> float:
    """For one image; runs for at least that long."""
    count, started = 0, time.perf_counter()
    while (taken := time.perf_counter() - started) < least or not count:
        count += run()
    return taken / count


def measure(name: str, peer: Peer, images: Tensor, options: argparse.Namespace) -> Speed:
    """Both take turns."""
    means = []
    for severity in SEVERITIES:
        runs = native(name, severity, images), one_by_one(peer, severity, images)
        for run in runs:
            run()
        turns = [[seconds(run, options.seconds) for run in runs] for _ in range(options.repeats)]
        means.append([min(turn[who] for turn in turns) for who in (0, 1)])
    ours, theirs = (sum(mean[who] for mean in means) / len(means) for who in (0, 1))
    kind = STRESSORS.get(name)
    return Speed(name, kind.fidelity if issubclass(kind, Corruption) else "", ours, theirs)


def row(name: str, fidelity: str, ours: float, theirs: float) -> str:
    speeds = (f"{1 / one:,.0f}" if one < 0.1 else f"{1 / one:.2g}" for one in (ours, theirs))
    return f"| {name} | {fidelity} | {' | '.join(speeds)} | {theirs / ours:.1f} |"


def show(side: int, names: Sequence[str], library: dict[str, Peer], options: argparse.Namespace) -> None:
    """One table."""
    images = pictures(side)
    print(f"\n## {side} pixels, batches of {len(images)}: images a second\n")
    print("| corruption | class | native | imagecorruptions | ratio |\n|---|---|---|---|---|")
    speeds = []
    for name in names:
        speeds.append(measure(name, library[name], images, options))
        print(row(name, speeds[-1].fidelity, speeds[-1].native, speeds[-1].peer), flush=True)
    suite = [speed for speed in speeds if speed.name in COMMON]
    if suite:
        ours, theirs = sum(speed.native for speed in suite), sum(speed.peer for speed in suite)
        print(row(f"{len(suite)} of the 15 in a row", "", ours, theirs))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, action="append", help="of the images, 32 or more; may be repeated")
    parser.add_argument("--only", action="append", choices=COMMON + VALIDATION, help="may be repeated; default: all 19")
    parser.add_argument("--seconds", type=float, default=0.3, help="that a turn lasts at least")
    parser.add_argument("--repeats", type=int, default=3)
    return parser.parse_args()


def main() -> None:
    options = parse()
    torch.set_num_threads(1)
    import cv2

    cv2.setNumThreads(1)
    names = options.only or COMMON + VALIDATION
    print(f"torch {torch.__version__}, one thread, {options.repeats} turns of {options.seconds} s")
    library = peers()
    for side in options.side or (32, 224):
        show(side, names, library, options)


if __name__ == "__main__":
    main()
