"""Painting of many small things one over the other: for each pixel, the last one that covers it."""

import torch
from torch import Tensor

SIDE = 224
"""Side in pixels of the images for which the lengths of LAION-C are given."""


def scaled(pixels: float, side: int, least: int) -> int:
    """Whole number of pixels that is to ``side`` as ``pixels`` is to 224, and at least ``least``."""
    return max(least, round(pixels * side / SIDE))


def repeated(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Owner and rank of each element of groups of these sizes, int64 (sum,) each: (2, 1) to (0, 0, 1), (0, 1, 0)."""
    owners = torch.repeat_interleave(counts)
    return owners, torch.arange(len(owners), device=counts.device) - (counts.cumsum(0) - counts)[owners]


def topmost(shape: tuple[int, int, int], *, image: Tensor, row: Tensor, column: Tensor, number: Tensor) -> Tensor:
    """Largest number of the points at each pixel, -1 where there is none: int64 (B, H, W).

    Args:
        shape: B, H, W.
        image: image of each point, int64 (N,).
        row: row of each point, which may lie outside the image, int64 (N,).
        column: column of each point, which may lie outside the image, int64 (N,).
        number: order of each point, at least 0: larger ones are painted later, int64 (N,).
    """
    count, height, width = shape
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    places = ((image * height + row) * width + column)[inside]
    found = torch.full((count * height * width,), -1, dtype=torch.int64, device=row.device)
    return found.scatter_reduce_(0, places, number[inside], "amax").view(shape)
