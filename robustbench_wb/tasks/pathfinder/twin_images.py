"""Pairing of images so that the positions of the markers do not reveal the label.

Every image gets a twin with the other label and its markers in nearly the same positions. Without pairing, the label
could be guessed, because snakes keep a distance from each other (docs/long-sequence-pathfinder.md says how often).
Images without a twin are not used.
"""

import numpy as np

from robustbench_wb.tasks.pathfinder.paddle_tables import Ints

PLACE = 16
"""Largest difference between the markers of twins is 1/PLACE of the window (root mean square of both markers)."""
DISTANCE = 64
"""Largest difference between the marker distances of twins is 1/DISTANCE of the window."""


def pair_twins(joined: Ints, apart: Ints, side: int) -> tuple[Ints, Ints]:
    """Pair images, each in at most one pair, the most similar first.

    Positions are compared up to rotation and reflection of the square and the order of the two markers.

    Args:
        joined: markers of M images if their label is 1, points (M, 2, 2) on a grid of ``side`` cells.
        apart: markers of the M images if their label is 0.
        side: cells of a side of the grid.

    Returns:
        Numbers of the images with label 1 and of their twins with label 0, both (pairs,).
    """
    lengths = [np.sqrt(((markers[:, 0] - markers[:, 1]) ** 2).sum(1)) for markers in (joined, apart)]
    one, zero = np.nonzero(np.abs(lengths[0][:, None] - lengths[1]) <= side / DISTANCE)
    differing = one != zero  # an image is not its own twin
    one, zero = one[differing], zero[differing]
    unlike = _unlike(joined[one], apart[zero], side)
    near = unlike <= 2 * (side / PLACE) ** 2
    order = np.argsort(unlike[near], kind="stable")
    return _greedy(one[near][order], zero[near][order], len(joined))


def _unlike(first: Ints, second: Ints, side: int) -> Ints:
    """Sum of the squared distances between the two markers, for the best of the 16 symmetries, (n,)."""
    best = np.full(len(first), np.iinfo(np.int64).max)
    for turned in (second, second[..., ::-1]):
        for flips in ((0, 0), (0, 1), (1, 0), (1, 1)):
            seen = np.where(np.array(flips, bool), side - 1 - turned, turned)
            for ordered in (seen, seen[:, ::-1]):
                best = np.minimum(best, ((first - ordered) ** 2).sum((1, 2)))
    return best


def _greedy(one: Ints, zero: Ints, count: int) -> tuple[Ints, Ints]:
    used = np.zeros(count, bool)
    pairs = []
    for pair in zip(one.tolist(), zero.tolist(), strict=True):
        if not (used[pair[0]] or used[pair[1]]):
            used[list(pair)] = True
            pairs.append(pair)
    # Sorted by image, so that similarity does not decide which pairs are used.
    found = np.array(sorted(pairs), np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]
