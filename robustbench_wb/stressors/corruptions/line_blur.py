"""Blur along a line, with one angle for each image."""

import math
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from robustbench_wb.stressors.corruptions.filters import cache_blocks, whole_weights


def motion_blur(values: Tensor, angles: Tensor, *, radius: int, sigma: float) -> Tensor:
    """Blur along a line: mean of 2 radius + 1 shifted copies, weighted by half a Gaussian; edges are continued.

    Copy i = 0..2 radius has weight exp(-i^2 / 2 sigma^2) and moves pixel (y + ceil(i sin a - 1/2), x + ceil(i cos a -
    1/2)) to (y, x): ImageMagick's ``-motion-blur`` (Hendrycks & Dietterich 2019).

    Args:
        values: float32 (B, C, H, W). Levels (integers from 0 to 255) are blurred without rounding: the result is exact
            for weights rounded to 2^-16, whatever the batch.
        angles: (B,), in radians; 0 points along a row, pi/2 down a column.
        radius: in pixels.
        sigma: in pixels.

    Returns:
        float32 (B, C, H, W).
    """
    steps = np.arange(2 * radius + 1)
    weights = np.trim_zeros(whole_weights(np.exp(-(steps**2) / (2 * sigma**2)), 16), "b")
    order = torch.argsort(angles, stable=True)
    shifts = _shifts(angles[order].tolist(), steps[: len(weights)])
    values = values[order]
    blurred = torch.empty_like(values)
    for rows in cache_blocks(values):
        blurred[order[rows]] = _blurred(values[rows], shifts[rows], weights.tolist())
    return blurred


def _shifts(angles: list[float], steps: NDArray[np.int64]) -> NDArray[np.int64]:
    """Displacement in pixels (down, right) of each copy of each image, int64 (B, copies, 2)."""
    # Python's own functions: the sine of an angle does not depend on its position in an array.
    directions = np.array([(math.sin(angle), math.cos(angle)) for angle in angles]).reshape(-1, 1, 2)
    shifts: NDArray[np.int64] = np.ceil(steps[None, :, None] * directions - 0.5).astype(np.int64)
    return shifts


def _blurred(values: Tensor, shifts: NDArray[np.int64], weights: list[float]) -> Tensor:
    """Weighted sum of shifted copies, (B, C, H, W); neighbouring images with equal shifts are added at once."""
    height, width = values.shape[-2:]
    (top, left), (bottom, right) = np.maximum(-shifts.min((0, 1)), 0), np.maximum(shifts.max((0, 1)), 0)
    padded = pad(values, (int(left), int(right), int(top), int(bottom)), mode="replicate")
    total = torch.zeros_like(values)
    for copy, weight in enumerate(weights):
        at = 0
        for (down, along), run in groupby(map(tuple, shifts[:, copy].tolist())):
            rows = slice(at, at := at + len(list(run)))
            down, along = down + int(top), along + int(left)
            total[rows].add_(padded[rows, :, down : down + height, along : along + width], alpha=weight)
    return total
