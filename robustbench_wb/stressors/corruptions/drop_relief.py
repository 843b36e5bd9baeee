"""Relief of water drops in whole numbers: edges, distance to them, equalisation and embossing.

The reference calls OpenCV for each step; these functions follow the definitions that OpenCV documents. They compute on
the CPU, in numpy, whose operations on small integers are several times faster than those of torch.
"""

from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

WEAK, STRONG = 50, 150
"""Gradient strengths that continue an edge, and that start one."""
REACH = 20
"""Largest distance in pixels; longer ones are clamped to it."""
UNIT = 10_000
"""Units of distance per pixel: distances are integers in 1 / 10,000 pixel."""
_DIAGONAL, _KNIGHT = 14_000, 21_969
"""Lengths of the moves (1, 1) and (2, 1)."""
_TANGENT = 13573  # tan(22.5 degrees) times 2^15
_FAR = np.uint8(REACH)
Whole = TypeVar("Whole", np.int16, np.int32)


def relief(liquid: Tensor) -> Tensor:
    """Height of the water from its depth, both uint8 (B, H, W)."""
    reached = distance(edges(liquid.cpu().numpy()))
    blurred = (sum_around(reached) // (9 * UNIT)).astype(np.uint8)
    level = np.pad(equalised(blurred), ((0, 0), (1, 1), (1, 1)), mode="reflect").astype(np.int16)
    embossed = level[:, 1:-1, 1:-1] + level[:, 1:-1, 2:] - level[:, 1:-1, :-2]
    embossed += level[:, 2:, 1:-1] - level[:, :-2, 1:-1]
    embossed += 2 * (level[:, 2:, 2:] - level[:, :-2, :-2])
    smoothed = (2 * sum_around(embossed.clip(0, 255)) + 9) // 18
    return torch.from_numpy(smoothed.astype(np.uint8)).to(liquid.device)


def sum_around(images: NDArray[Whole]) -> NDArray[Whole]:
    """Sum of each 3 x 3 square of (B, H, W); the outside is mirrored about the centre of the last pixel."""
    tall = np.pad(images, ((0, 0), (1, 1), (0, 0)), mode="reflect")
    wide = np.pad(tall[:, :-2] + tall[:, 1:-1] + tall[:, 2:], ((0, 0), (0, 0), (1, 1)), mode="reflect")
    return wide[..., :-2] + wide[..., 1:-1] + wide[..., 2:]


def edges(images: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Canny edges (1986) with Sobel gradients of strength |dx| + |dy|: uint8 (B, H, W) to bool (B, H, W)."""
    wide = np.pad(images, ((0, 0), (1, 1), (1, 1)), mode="edge").astype(np.int16)
    step = wide[..., 2:] - wide[..., :-2]
    across = step[:, :-2] + step[:, 2:] + 2 * step[:, 1:-1]
    both = wide[..., 2:] + wide[..., :-2] + 2 * wide[..., 1:-1]
    down = both[:, 2:] - both[:, :-2]
    strength = np.zeros(wide.shape, np.int16)  # no gradient outside
    strength[:, 1:-1, 1:-1] = np.abs(across) + np.abs(down)
    places = np.flatnonzero(strength > WEAK)  # few pixels: the others are on no edge
    inner = strength[:, 1:-1, 1:-1] > WEAK
    crest = places[_on_crest(strength, places, across=across[inner], down=down[inner])]
    return _grown(strength, crest)[:, 1:-1, 1:-1]


def _on_crest(
    strength: NDArray[np.int16], places: NDArray[np.intp], *, across: NDArray[np.int16], down: NDArray[np.int16]
) -> NDArray[np.bool_]:
    """Whether the gradient is strongest along its own direction, at some places of a framed strength (B, H, W)."""
    flat_strength, row = strength.reshape(-1), strength.shape[-1]
    x, y = np.abs(across).astype(np.int32), np.abs(down).astype(np.int32)
    flat, steep = (y << 15) < x * _TANGENT, (y << 15) > x * (_TANGENT + (1 << 16))
    falling = (across ^ down) < 0
    offset = np.where(flat, 1, np.where(steep, row, np.where(falling, row - 1, row + 1)))
    here, after = flat_strength[places], flat_strength[places + offset]
    found: NDArray[np.bool_] = (here > flat_strength[places - offset]) & (
        (here > after) | ((here == after) & (flat | steep))
    )
    return found


def _grown(strength: NDArray[np.int16], crest: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Mask of the crest's strong places and of all its places that are connected to them, of the shape of strength."""
    row, known = strength.shape[-1], strength.reshape(-1)[crest]
    mask = np.zeros(strength.shape, np.bool_)
    found = mask.reshape(-1)
    found[crest[known > STRONG]] = True
    around = np.array([-row - 1, -row, 1 - row, -1, 1, row - 1, row, row + 1])
    waiting = crest[known <= STRONG]
    while len(waiting):
        joined = found[waiting[:, None] + around].any(1)
        if not joined.any():
            break
        found[waiting[joined]] = True
        waiting = waiting[~joined]
    return mask


def distance(edge: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Distance from the nearest edge in units of 1 / ``UNIT`` pixel, at most ``REACH`` pixels: int32 (B, H, W).

    Distances are lengths of paths of moves (1, 0), (1, 1) and (2, 1) with lengths 1, 1.4 and 2.1969 (Borgefors 1986, a
    5 x 5 mask). The moves of a shortest path can be ordered: first along the row of its edge, then from row to row,
    downward or upward. Both ways are walked at once, for all images: images are the last dimension, so that a row with
    all its images is one block of memory.
    """
    along = _along_rows(np.ascontiguousarray(edge.transpose(1, 2, 0)))
    height, width, count = along.shape
    reached = np.full((height, 2, width + 4, count), REACH * UNIT, np.int32)  # with two columns on either side
    inner = reached[:, :, 2:-2]
    np.multiply(along, UNIT, out=inner[:, 0], dtype=np.int32)
    inner[:, 1] = inner[::-1, 0]
    beside = np.full((2, width, count), REACH * UNIT, np.int32)
    for last, here in zip(reached[:-1], inner[1:], strict=True):
        path = np.minimum(last[:, :-4], last[:, 4:])
        np.minimum(path, beside, out=path)  # one column to the side, two rows back
        path += _KNIGHT
        np.minimum(here, path, out=here)
        np.minimum(last[:, 1:-3], last[:, 3:-1], out=beside)
        np.minimum(here, np.add(beside, _DIAGONAL, out=path), out=here)
        np.minimum(here, np.add(last[:, 2:-2], UNIT, out=path), out=here)
    nearest: NDArray[np.int32] = np.minimum(inner[:, 0], inner[::-1, 1]).transpose(2, 0, 1)
    return nearest


def _along_rows(edge: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Pixels to the nearest edge in the same row, at most ``REACH``: bool (H, W, B) to uint8 of the same shape."""
    steps = (1, 2, 4, 8, 16)  # any distance up to 31 is a sum of these
    frame = steps[-1]
    wide = np.pad(np.where(edge, np.uint8(0), _FAR), ((0, 0), (frame, frame), (0, 0)), constant_values=_FAR)
    along, width = wide[:, frame:-frame], edge.shape[1]
    for step in steps:
        nearer = np.minimum(wide[:, frame - step :][:, :width], wide[:, frame + step :][:, :width])
        np.minimum(along, nearer + np.uint8(step), out=along)
    return along


def equalised(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Histogram equalisation of levels from 0 to ``REACH``, uint8 (B, H, W); constant images are unchanged."""
    counts = np.stack([np.bincount(image.reshape(-1), minlength=REACH + 1) for image in images])
    sums = counts.cumsum(1)
    lowest = np.take_along_axis(counts, (counts > 0).argmax(1, keepdims=True), 1)
    rest = sums[:, -1:] - lowest
    tables = np.rint((sums - lowest).clip(0) * 255 / np.maximum(rest, 1)).astype(np.uint8)
    tables[rest[:, 0] == 0] = np.arange(REACH + 1)
    return np.stack([table[image] for table, image in zip(tables, images, strict=True)])
