"""Making Pathfinder images: in blocks, in processes, and the same ones however that is done."""

import multiprocessing
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from robustbench_wb.errors import DataError, UsageError
from robustbench_wb.progress import Progress, Silent
from robustbench_wb.streams import Words
from robustbench_wb.tasks.pathfinder.draw import draw
from robustbench_wb.tasks.pathfinder.grow import Field, grow_long, grow_short
from robustbench_wb.tasks.pathfinder.parameters import Parameters
from robustbench_wb.tasks.pathfinder.stamps import Ints, stamps
from robustbench_wb.tasks.pathfinder.trace import trace
from robustbench_wb.tasks.pathfinder.twins import twins

BLOCK = 128
"""Images are made in blocks of so many, each from a stream of its own."""
_POOL = 512
"""Among so many pairs of long snakes are twins looked for."""
_BATCH = 1024
_HOPELESS = 16
"""After so many batches with less than one success in a hundred, there is no room for the snakes."""


@dataclass(frozen=True)
class Tally:
    """What became of the images that were begun, over all blocks that were made."""

    tried: int = 0
    """How often two long snakes were begun."""
    placed: int = 0
    """How often both then had room."""
    paired: int = 0
    """How many of those have a twin of the other label, and both have room for their distractors."""

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.tried + other.tried, self.placed + other.placed, self.paired + other.paired)


@dataclass(frozen=True, eq=False)
class Pathfinder:
    """Images, their labels and the geometry that they were drawn from."""

    images: NDArray[np.uint8]
    """(N, S, S), levels 0..255."""
    labels: NDArray[np.int64]
    """(N,): 1 where the markers are at the two ends of one snake, 0 where each is on another."""
    long: NDArray[np.int16]
    """Points of the two long snakes, (N, 2, contour length + 1, 2): (row, column) on the fine grid, whose cells are
    1/antialias of a pixel. Origin first. A paddle lies in the middle between each two."""
    short: NDArray[np.int16]
    """Points of the distractors, (N, distractors, distractor length + 1, 2)."""
    markers: NDArray[np.int16]
    """Centres of the two markers, (N, 2, 2): an origin, and a far end."""
    tally: Tally


def generate(
    count: int,
    parameters: Parameters,
    seed: int,
    label: str,
    *,
    labels: Sequence[int] | NDArray[np.int64] | None = None,
    progress: Progress | None = None,
    processes: int | None = None,
) -> Pathfinder:
    """``count`` images; image i depends on the parameters, the seed, the text ``label``, i and its own label alone.

    ``labels`` says what the labels are to be (0 or 1; else they alternate, 0 first). ``processes`` is the number of
    processes, by default one for each processor; a block or two are made in this one.

    The idea is that of Linsley et al. 2018 (arXiv 1805.08315), after Houtkamp & Roelfsema 2010. That no image is
    ambiguous is by construction (see ``grow``), and each is traced before it is given out.

    Raises:
        UsageError: labels are not ``count`` zeros and ones, or the snakes have no room in the window.
    """
    wanted = np.arange(count) % 2 if labels is None else np.asarray(labels, np.int64)
    if wanted.shape != (count,) or ((wanted != 0) & (wanted != 1)).any():
        raise UsageError(f"pathfinder: labels must be {count} numbers, each 0 or 1")
    jobs = [
        (parameters, seed, label, number, wanted[start : start + BLOCK])
        for number, start in enumerate(range(0, max(count, 1), BLOCK))
    ]
    parts = []
    with (progress or Silent()).stage(f"drawing {label}", count, "images") as advance:
        for part in _run(jobs, processes or os.cpu_count() or 1):
            parts.append(part)
            advance(len(part.labels))
    return _joined(parts)


_Job = tuple[Parameters, int, str, int, NDArray[np.int64]]


def _run(jobs: list[_Job], processes: int) -> Iterator[Pathfinder]:
    """The blocks in order. A daemon may have no processes of its own."""
    processes = min(processes, len(jobs))
    if processes == 1 or len(jobs) <= 2 or multiprocessing.current_process().daemon:
        yield from map(_block, jobs)
        return
    # joblib's workers do not import the caller's script, as those of the standard library do.
    yield from Parallel(processes, return_as="generator")(delayed(_block)(job) for job in jobs)


def _joined(parts: list[Pathfinder]) -> Pathfinder:
    def column(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(part, name) for part in parts])

    return Pathfinder(
        column("images"),
        column("labels"),
        column("long"),
        column("short"),
        column("markers"),
        _sum(part.tally for part in parts),
    )


def _sum(tallies: Iterable[Tally]) -> Tally:
    return sum(tallies, Tally())


def _block(job: _Job) -> Pathfinder:
    """The images of one block. It is made whole, both twins of each pair, so that others' labels change nothing."""
    parameters, seed, label, number, labels = job
    words = Words(seed, label, number)
    found: list[_Pairs] = []
    while sum(len(pairs.long) for pairs in found) < BLOCK:
        found.append(_pairs(parameters, words))
    pick = np.arange(len(labels)), labels
    long, short, markers = (
        np.concatenate([getattr(pairs, name) for pairs in found])[pick] for name in ("long", "short", "markers")
    )
    images = draw(stamps(parameters), long, short, markers)
    if (trace(images, parameters) != labels).any():
        raise DataError(f"pathfinder: block {number} of {label} has an image that its pixels do not decide")
    tally = _sum(pairs.tally for pairs in found)
    return Pathfinder(images, labels, long.astype(np.int16), short.astype(np.int16), markers.astype(np.int16), tally)


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Twins: the second axis is the label."""

    long: Ints
    short: Ints
    markers: Ints
    tally: Tally


def _pairs(parameters: Parameters, words: Words) -> _Pairs:
    """Place a pool of long snakes, find twins, give them distractors."""
    blocked, long, tried = _pool(parameters, words)
    placed = len(long)
    origins, ends, every = long[:, :, 0], long[:, :, -1], np.arange(placed)
    marked = words.below(2, 2 * placed).reshape(2, -1)
    # Of each image, if its label were 0 and if it were 1: markers at the origin of one snake, the end of the other, or
    # of the same.
    markers = [
        np.stack([origins[every, one], ends[every, one if label else 1 - one]], 1) for label, one in enumerate(marked)
    ]
    side = parameters.window * parameters.antialias
    one, zero = twins(markers[1], markers[0], side)
    if not len(one):
        raise UsageError(
            f"pathfinder: the distance between markers gives the label away when snakes of {parameters.contour_length} "
            f"paddles begin {parameters.seed_distance:g} pixels apart; take longer snakes, or a smaller seed_distance"
        )
    used = np.stack([zero, one], axis=1)
    rows, points = grow_short(Field(stamps(parameters), blocked[used.ravel()]), words)
    short = np.zeros((2 * len(used), *points.shape[1:]), np.int64)
    short[rows] = points
    whole = np.isin(np.arange(2 * len(used)), rows).reshape(-1, 2).all(1)
    if not whole.any():
        raise UsageError(
            f"pathfinder: {parameters.distractors} distractors of {parameters.distractor_length} paddles found room in "
            f"none of {len(used)} pairs of windows of {parameters.window} pixels; take fewer or shorter ones"
        )
    return _Pairs(
        long[used[whole]],
        short.reshape(-1, 2, *points.shape[1:])[whole],
        np.stack([markers[0][zero], markers[1][one]], axis=1)[whole],
        Tally(tried, placed, 2 * int(whole.sum())),
    )


def _pool(parameters: Parameters, words: Words) -> tuple[NDArray[np.uint8], Ints, int]:
    """What is blocked in, and the points of, at least ``_POOL`` pairs of long snakes; how many were begun for that."""
    blocked: list[NDArray[np.uint8]] = []
    long: list[Ints] = []
    tried = placed = 0
    while placed < _POOL:
        field = Field.empty(stamps(parameters), _BATCH)
        rows, points = grow_long(field, words)
        blocked.append(field.blocked[rows])
        long.append(points)
        tried += _BATCH
        placed += len(rows)
        if tried >= _HOPELESS * _BATCH and placed < tried / 100:
            raise UsageError(
                f"pathfinder: two snakes of {parameters.contour_length} paddles found room in only {placed} of "
                f"{tried} windows of {parameters.window} pixels; take a larger window, or shorter snakes"
            )
    return np.concatenate(blocked), np.concatenate(long), tried
