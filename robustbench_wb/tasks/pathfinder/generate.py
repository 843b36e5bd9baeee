"""Generation of Pathfinder images in blocks, on several processes. The images do not depend on the processes."""

import multiprocessing
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from robustbench_wb.errors import DataError, UsageError
from robustbench_wb.progress import Progress, SilentProgress
from robustbench_wb.streams import RandomStream
from robustbench_wb.tasks.pathfinder.draw import render_images
from robustbench_wb.tasks.pathfinder.grow import BlockedPixels, grow_long, grow_short
from robustbench_wb.tasks.pathfinder.paddle_tables import Ints, cached_paddle_tables
from robustbench_wb.tasks.pathfinder.parameters import PathfinderParameters
from robustbench_wb.tasks.pathfinder.trace import trace_labels
from robustbench_wb.tasks.pathfinder.twin_images import pair_twins

BLOCK = 128
"""Number of images per block. Every block has its own random stream."""
_POOL = 512
"""Number of pairs of long snakes among which twins are searched."""
_BATCH = 1024
"""Number of images in which long snakes are grown at once."""
_HOPELESS = 16
"""Number of batches after which a success rate below 1 % means that there is no room for the snakes."""


@dataclass(frozen=True)
class GenerationCounts:
    """Counts of started and successful images over all generated blocks."""

    tried: int = 0
    """Number of images in which two long snakes were started."""
    placed: int = 0
    """Number of images with room for both long snakes."""
    paired: int = 0
    """Number of placed images with a twin of the other label, where both have room for their distractors."""

    def __add__(self, other: "GenerationCounts") -> "GenerationCounts":
        return GenerationCounts(self.tried + other.tried, self.placed + other.placed, self.paired + other.paired)


@dataclass(frozen=True, eq=False, kw_only=True)
class PathfinderImages:
    """Pathfinder images with their labels and geometry."""

    images: NDArray[np.uint8]
    """Images (N, S, S), levels 0..255."""
    labels: NDArray[np.int64]
    """Labels (N,): 1 if the markers are at the two ends of one snake, 0 if they are on different snakes."""
    long: NDArray[np.int16]
    """Points of the two long snakes, (N, 2, contour length + 1, 2), from the origin: (row, column) on the fine grid.

    A cell of the fine grid is 1/antialias of a pixel. A paddle is centred between every two consecutive points."""
    short: NDArray[np.int16]
    """Points of the distractors on the fine grid, (N, distractors, distractor length + 1, 2)."""
    markers: NDArray[np.int16]
    """Centres of the two markers on the fine grid, (N, 2, 2): the origin of a long snake, then an end."""
    tally: GenerationCounts
    """Counts of started and successful images."""


def generate_images(
    count: int,
    parameters: PathfinderParameters,
    seed: int,
    label: str,
    *,
    labels: Sequence[int] | NDArray[np.int64] | None = None,
    progress: Progress | None = None,
    processes: int | None = None,
) -> PathfinderImages:
    """Generate ``count`` images. Image i depends only on ``parameters``, ``seed``, ``label``, i and its own label.

    The task is that of Linsley et al. 2018 (arXiv 1805.08315), after Houtkamp & Roelfsema 2010. Images are unambiguous
    by construction (see ``grow``), and the label of each is verified by tracing.

    Args:
        count: number of images.
        parameters: geometry of the images.
        seed: run seed.
        label: name of the random stream.
        labels: wanted labels, 0 or 1, (count,); None: alternating, 0 first.
        progress: receiver of progress in images.
        processes: number of processes; None: one per processor. One or two blocks are made in the calling process.

    Raises:
        UsageError: the labels are not ``count`` zeros and ones, or the window has no room for the snakes.
        DataError: tracing an image does not give its label.
    """
    wanted = np.arange(count) % 2 if labels is None else np.asarray(labels, np.int64)
    if wanted.shape != (count,) or ((wanted != 0) & (wanted != 1)).any():
        raise UsageError(f"pathfinder: labels must be {count} numbers, each 0 or 1")
    jobs = [
        _BlockJob(parameters=parameters, seed=seed, label=label, number=number, labels=wanted[start : start + BLOCK])
        for number, start in enumerate(range(0, max(count, 1), BLOCK))
    ]
    parts = []
    with (progress or SilentProgress()).stage(f"drawing {label}", count, "images") as advance:
        for part in _run(jobs, processes or os.cpu_count() or 1):
            parts.append(part)
            advance(len(part.labels))
    return _joined(parts)


@dataclass(frozen=True, eq=False, kw_only=True)
class _BlockJob:
    """Arguments of one block, as another process receives them."""

    parameters: PathfinderParameters
    seed: int
    label: str
    number: int
    labels: NDArray[np.int64]


def _run(jobs: list[_BlockJob], processes: int) -> Iterator[PathfinderImages]:
    """Generate the blocks in order. Daemonic processes generate them alone, because they cannot start others."""
    processes = min(processes, len(jobs))
    if processes == 1 or len(jobs) <= 2 or multiprocessing.current_process().daemon:
        yield from map(_block, jobs)
        return
    # joblib is used because workers of the standard library import the script of the caller.
    yield from Parallel(processes, return_as="generator")(delayed(_block)(job) for job in jobs)


def _joined(parts: list[PathfinderImages]) -> PathfinderImages:
    return PathfinderImages(
        images=np.concatenate([part.images for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        long=np.concatenate([part.long for part in parts]),
        short=np.concatenate([part.short for part in parts]),
        markers=np.concatenate([part.markers for part in parts]),
        tally=_sum(part.tally for part in parts),
    )


def _sum(tallies: Iterable[GenerationCounts]) -> GenerationCounts:
    return sum(tallies, GenerationCounts())


def _block(job: _BlockJob) -> PathfinderImages:
    """Generate one block. Both twins of every pair are made, so that an image does not depend on other labels."""
    parameters, labels = job.parameters, job.labels
    words = RandomStream(job.seed, job.label, job.number)
    found: list[_Pairs] = []
    while sum(len(pairs.long) for pairs in found) < BLOCK:
        found.append(_pairs(parameters, words))
    pick = np.arange(len(labels)), labels
    long, short, markers = (
        np.concatenate([getattr(pairs, name) for pairs in found])[pick] for name in ("long", "short", "markers")
    )
    images = render_images(cached_paddle_tables(parameters), long=long, short=short, markers=markers)
    if (trace_labels(images, parameters) != labels).any():
        raise DataError(f"pathfinder: block {job.number} of {job.label} has an image whose label cannot be traced")
    tally = _sum(pairs.tally for pairs in found)
    return PathfinderImages(
        images=images,
        labels=labels,
        long=long.astype(np.int16),
        short=short.astype(np.int16),
        markers=markers.astype(np.int16),
        tally=tally,
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class _Pairs:
    """Geometry of pairs of twin images, indexed by pair and label on the first two axes."""

    long: Ints
    short: Ints
    markers: Ints
    tally: GenerationCounts


def _pairs(parameters: PathfinderParameters, words: RandomStream) -> _Pairs:
    """Grow a pool of long snakes, find twins, and add distractors to both twins of each pair."""
    blocked, long, tried = _pool(parameters, words)
    placed = len(long)
    origins, ends, every = long[:, :, 0], long[:, :, -1], np.arange(placed)
    marked = words.integers(2, 2 * placed).reshape(2, -1)
    # Markers of each image for the labels 0 and 1: the origin of a random snake, and the end of the other snake (0) or
    # of the same snake (1).
    markers = [
        np.stack([origins[every, one], ends[every, one if label else 1 - one]], 1) for label, one in enumerate(marked)
    ]
    side = parameters.window * parameters.antialias
    one, zero = pair_twins(markers[1], markers[0], side)
    if not len(one):
        raise UsageError(
            f"pathfinder: the distance between markers reveals the label when snakes of {parameters.contour_length} "
            f"paddles begin {parameters.seed_distance:g} pixels apart; use longer snakes, or a smaller seed_distance"
        )
    used = np.stack([zero, one], axis=1)
    rows, points = grow_short(BlockedPixels(cached_paddle_tables(parameters), blocked[used.ravel()]), words)
    short = np.zeros((2 * len(used), *points.shape[1:]), np.int64)
    short[rows] = points
    whole = np.isin(np.arange(2 * len(used)), rows).reshape(-1, 2).all(1)
    if not whole.any():
        raise UsageError(
            f"pathfinder: {parameters.distractors} distractors of {parameters.distractor_length} paddles found room in "
            f"none of {len(used)} pairs of windows of {parameters.window} pixels; use fewer or shorter ones"
        )
    return _Pairs(
        long=long[used[whole]],
        short=short.reshape(-1, 2, *points.shape[1:])[whole],
        markers=np.stack([markers[0][zero], markers[1][one]], axis=1)[whole],
        tally=GenerationCounts(tried, placed, 2 * int(whole.sum())),
    )


def _pool(parameters: PathfinderParameters, words: RandomStream) -> tuple[NDArray[np.uint8], Ints, int]:
    """Grow at least ``_POOL`` pairs of long snakes.

    Returns:
        Blocked pixels of each image, points of the snakes, and the number of images in which snakes were started.
    """
    blocked: list[NDArray[np.uint8]] = []
    long: list[Ints] = []
    tried = placed = 0
    while placed < _POOL:
        field = BlockedPixels.empty(cached_paddle_tables(parameters), _BATCH)
        rows, points = grow_long(field, words)
        blocked.append(field.blocked[rows])
        long.append(points)
        tried += _BATCH
        placed += len(rows)
        if tried >= _HOPELESS * _BATCH and placed < tried / 100:
            raise UsageError(
                f"pathfinder: two snakes of {parameters.contour_length} paddles found room in only {placed} of "
                f"{tried} windows of {parameters.window} pixels; use a larger window, or shorter snakes"
            )
    return np.concatenate(blocked), np.concatenate(long), tried
