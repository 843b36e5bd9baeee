"""Pixels of small filled shapes, as Pillow draws them."""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

TURNS = 360
"""Angles of a star, in whole degrees."""
STAR = 3
"""Number of the star among the kinds: triangle, square, circle, star."""


class ShapeMasks(NamedTuple):
    """Pixels of all shapes, one shape after the other."""

    rows: Tensor
    """Row of each pixel relative to the position of its shape, int64 (pixels,)."""
    columns: Tensor
    """Column of each pixel relative to the position of its shape, int64 (pixels,)."""
    starts: Tensor
    """First pixel of each shape, int64 (shapes,)."""
    counts: Tensor
    """Number of pixels of each shape, int64 (shapes,)."""
    mean_area: float
    """Mean number of pixels, where kinds, sizes and angles are equally likely."""


@lru_cache(maxsize=8)
def shape_masks(sizes: tuple[int, ...]) -> ShapeMasks:
    """Masks of shapes, numbered (kind * sizes + size) for triangles, squares and circles; then stars, size by size.

    Stars have ``TURNS`` masks for each size, one for each degree.
    """
    pixels = [np.argwhere(_drawn(kind, size, 0)) - _margin(size) for kind in range(STAR) for size in sizes]
    stars = [np.argwhere(_drawn(STAR, size, turn)) - _margin(size) for size in sizes for turn in range(TURNS)]
    counts = torch.tensor([len(some) for some in [*pixels, *stars]])
    rows, columns = torch.from_numpy(np.concatenate([*pixels, *stars])).T
    plain, turned = (part.double().mean() for part in (counts[: len(pixels)], counts[len(pixels) :]))
    mean_area = (STAR * float(plain) + float(turned)) / (STAR + 1)
    return ShapeMasks(
        rows=rows.contiguous(),
        columns=columns.contiguous(),
        starts=counts.cumsum(0) - counts,
        counts=counts,
        mean_area=mean_area,
    )


def _margin(size: int) -> int:
    """Pixels above and to the left of the position of a shape."""
    return size + 1


def _drawn(kind: int, size: int, turn: int) -> NDArray[np.uint8]:
    """Picture of one shape, uint8 (H, W), 1 where it is filled."""
    place = _margin(size)
    picture = Image.new("L", (place + size + 2, place + size + 2))
    draw = ImageDraw.Draw(picture)
    box = (place, place, place + size, place + size)
    if kind == 0:
        draw.polygon([(place, place), (place + size, place), (place + size / 2, place + size)], fill=1)
    elif kind == 1:
        draw.rectangle(box, fill=1)
    elif kind == 2:
        draw.ellipse(box, fill=1)
    else:
        radii = (size / 1.2, size / 2.4)
        angles = [math.radians(36 * corner + turn) for corner in range(10)]
        corners = [
            (place + radii[number % 2] * math.sin(angle), place + radii[number % 2] * math.cos(angle))
            for number, angle in enumerate(angles)
        ]
        draw.polygon(corners, fill=1)
    return np.asarray(picture)
