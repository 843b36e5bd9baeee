"""Markers that tell nothing: every image has a twin of the other label with its markers in nearly the same places.

Two snakes keep apart, so the end of a marker's own snake lies elsewhere than the end of the other one. Left alone, that
gives the label away (the docs say how often). Images without a twin are therefore not used.
"""

import numpy as np

from robustbench_wb.tasks.pathfinder.stamps import Ints

PLACE = 16
"""Markers of twins differ by at most this part of the window (root mean square of the two) ..."""
DISTANCE = 64
"""... and the distance between them by at most this part of it."""


def twins(joined: Ints, apart: Ints, side: int) -> tuple[Ints, Ints]:
    """Pairs of images, each image in one pair at most: numbers of those with label 1 and of those with label 0.

    ``joined`` and ``apart`` are the markers of M images if their label is 1 and if it is 0: points (M, 2, 2) of a
    grid of ``side`` cells. Places count as the same if a rotation or reflection of the square, or the order of the two
    markers, makes them so. The most alike are paired first.
    """
    lengths = [np.sqrt(((markers[:, 0] - markers[:, 1]) ** 2).sum(1)) for markers in (joined, apart)]
    one, zero = np.nonzero(np.abs(lengths[0][:, None] - lengths[1]) <= side / DISTANCE)
    differing = one != zero  # the two are images of their own
    one, zero = one[differing], zero[differing]
    unlike = _unlike(joined[one], apart[zero], side)
    near = unlike <= 2 * (side / PLACE) ** 2
    order = np.argsort(unlike[near], kind="stable")
    return _greedy(one[near][order], zero[near][order], len(joined))


def _unlike(first: Ints, second: Ints, side: int) -> Ints:
    """Sum of the two squared distances between markers, in the best of the 16 ways to lay them on each other; (n,)."""
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
    # In the order of the images: how alike twins are must not decide which are used.
    found = np.array(sorted(pairs), np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]
