"""Relief of water drops in whole numbers: edges, distance to them, equalisation and embossing.

The reference calls OpenCV for each step; these functions follow the definitions that OpenCV documents.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from robustbench_wb.stressors.corruptions.filters import Border, border_indices

WEAK, STRONG = 50, 150
"""Gradient strengths that continue an edge, and that start one."""
REACH = 20
"""Largest distance in pixels; longer ones are clamped to it."""
UNIT = 10_000
"""Units of distance per pixel: distances are integers in 1 / 10,000 pixel."""
_ACROSS = ((-2, -1, 0), (-1, 1, 1), (0, 1, 2))
_TANGENT = 13573  # tan(22.5 degrees) times 2^15


def relief(liquid: Tensor) -> Tensor:
    """Height of the water from its depth, both uint8 (B, H, W)."""
    reached = distance(edges(liquid))
    blurred = sum_around(reached, "mirror") // (9 * UNIT)
    embossed = weighted_around(equalised(blurred), _ACROSS).clamp(0, 255)
    return ((2 * sum_around(embossed, "mirror") + 9) // 18).to(torch.uint8)


def around(images: Tensor, border: Border) -> list[list[Tensor]]:
    """Nine neighbours of each pixel of (B, H, W): ``[1 + i][1 + j]`` holds at (y, x) the pixel at (y + i, x + j)."""
    height, width = images.shape[-2:]
    rows, columns = (torch.from_numpy(border_indices(side, 1, border)).to(images.device) for side in (height, width))
    wide = images.index_select(1, rows).index_select(2, columns)
    return [[wide[:, i : i + height, j : j + width] for j in range(3)] for i in range(3)]


def sum_around(images: Tensor, border: Border) -> Tensor:
    """Sum of each 3 x 3 square, int32 (B, H, W)."""
    return weighted_around(images, ((1, 1, 1),) * 3, border)


def weighted_around(images: Tensor, weights: tuple[tuple[int, ...], ...], border: Border = "mirror") -> Tensor:
    """Weighted sum of each 3 x 3 square, int32 (B, H, W)."""
    shifted = around(images.to(torch.int32), border)
    total = torch.zeros_like(images, dtype=torch.int32)
    for row, parts in zip(weights, shifted, strict=True):
        for weight, part in zip(row, parts, strict=True):
            if weight:
                total += weight * part
    return total


def edges(images: Tensor) -> Tensor:
    """Canny edges (1986) with Sobel gradients of strength |dx| + |dy|: uint8 (B, H, W) to bool (B, H, W)."""
    across = weighted_around(images, ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1)), "nearest")
    down = weighted_around(images, ((-1, -2, -1), (0, 0, 0), (1, 2, 1)), "nearest")
    x, y = across.abs(), down.abs()
    strength = x + y
    height, width = strength.shape[-2:]
    wide = pad(strength, (1, 1, 1, 1))
    above, level, below = ([wide[:, i : i + height, j : j + width] for j in range(3)] for i in range(3))
    flat, steep = (y << 15) < x * _TANGENT, (y << 15) > x * (_TANGENT + (1 << 16))
    falling = (across ^ down) < 0
    before = torch.where(falling, above[2], above[0])
    after = torch.where(falling, below[0], below[2])
    crest = torch.where(
        flat,
        (strength > level[0]) & (strength >= level[2]),
        torch.where(steep, (strength > above[1]) & (strength >= below[1]), (strength > before) & (strength > after)),
    )
    return _grown(crest & (strength > STRONG), crest & (strength > WEAK))


def _grown(found: Tensor, allowed: Tensor) -> Tensor:
    """Mask of the allowed pixels that are connected to the found ones, bool (B, H, W)."""
    while True:
        wide = pad(found, (1, 1, 1, 1))
        rows = wide[:, :-2] | wide[:, 1:-1] | wide[:, 2:]
        more = (rows[..., :-2] | rows[..., 1:-1] | rows[..., 2:]) & allowed
        if torch.equal(more, found):
            return found
        found = more


def distance(edge: Tensor) -> Tensor:
    """Distance from the nearest edge in units of 1 / ``UNIT`` pixel, at most ``REACH`` pixels: int32 (B, H, W).

    Distances are lengths of paths of moves (1, 0), (1, 1) and (2, 1) with lengths 1, 1.4 and 2.1969 (Borgefors 1986, a
    5 x 5 mask): first along each row, then from the rows above and below.
    """
    height, width = edge.shape[-2:]
    along = torch.where(edge, 0, REACH).to(torch.int32)
    for step in (1, 2, 4, 8, 16):  # any distance up to 31 is a sum of these
        wide = pad(along, (step, step), value=REACH)
        along = torch.minimum(along, torch.minimum(wide[..., :width], wide[..., 2 * step :]) + step)
    paths = _paths(edge.device)
    nearest = along * UNIT
    for step in range(1, min(REACH, height)):
        if nearest.max() <= step * UNIT:  # farther rows cannot be nearer
            break
        tall = pad(along, (0, 0, step, step), value=REACH)
        beside = torch.minimum(tall[:, :height], tall[:, 2 * step :])
        nearest = torch.minimum(nearest, paths[step].index_select(0, beside.flatten()).view(nearest.shape))
    return nearest


def _paths(device: torch.device) -> Tensor:
    """Length of the shortest path from (0, 0) to (a, b), at most ``REACH`` pixels, int32 (21, 21)."""
    pixels = torch.arange(REACH + 1, dtype=torch.int32, device=device)
    longer, shorter = torch.maximum(pixels[:, None], pixels), torch.minimum(pixels[:, None], pixels)
    paths = torch.maximum(UNIT * longer + 1969 * shorter, 7969 * longer + 6031 * shorter)
    return paths.clamp(max=REACH * UNIT)


def equalised(images: Tensor) -> Tensor:
    """Histogram equalisation of levels from 0 to ``REACH``, int32 (B, H, W); constant images are unchanged."""
    levels = images.flatten(1).long()
    counts = torch.zeros(len(levels), REACH + 1, dtype=torch.int64, device=levels.device)
    counts.scatter_add_(1, levels, torch.ones_like(levels))
    sums = counts.cumsum(1)
    lowest = counts.gather(1, (counts > 0).to(torch.int8).argmax(1, keepdim=True))
    rest = sums[:, -1:] - lowest
    table = ((sums - lowest).clamp(min=0).double() * 255 / rest.clamp(min=1)).round_().long()
    table = torch.where(rest == 0, torch.arange(REACH + 1, device=images.device), table)
    return table.gather(1, levels).view(images.shape).to(torch.int32)
