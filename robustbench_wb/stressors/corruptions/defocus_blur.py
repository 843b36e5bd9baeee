"""Defocus blur: every point of light becomes a disk."""

from itertools import groupby
from math import isqrt
from typing import ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustbench_wb.stressors.corruptions.corruption import Corruption
from robustbench_wb.stressors.corruptions.filters import apply_in_blocks, border_indices


class DefocusBlur(Corruption):
    """Mean over the pixels of a disk, then a small Gaussian against aliasing; edges mirrored.

    Source: Hendrycks & Dietterich 2019. A disk of radius below 1 is a single pixel: only the Gaussian remains. In mode
    ``reference`` a disk of radius 8 or 10 is 1 % too bright (``reference_gain``).
    """

    name: ClassVar[str] = "defocus-blur"
    fidelity = "E"
    constants: ClassVar = {  # radius and standard deviation in pixels
        32: ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        64: ((0.5, 0.6), (1, 0.1), (1.5, 0.1), (2.5, 0.01), (3, 0.1)),
        224: ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    }

    def perturb(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Blur the images; no random draws."""
        radius, sigma = cast("tuple[float, float]", self.severity_constants(images.shape))
        reach = 1 if radius <= 8 else 2  # the small Gaussian is 3 x 3 or 5 x 5
        weights = np.exp(-(np.arange(reach + 1) ** 2) / (2 * sigma**2))
        weights /= weights[0] + 2 * weights[1:].sum()
        margin = int(radius) + reach
        down, along = (
            torch.from_numpy(border_indices(side, margin, "mirror")).to(images.device) for side in images.shape[-2:]
        )
        area = len(disk(radius)) / (reference_gain(radius, weights) if self.mode == "reference" else 1)

        def blur(block: Tensor) -> Tensor:
            disks = disk_sums(block.index_select(2, down).index_select(3, along), radius).float() / area
            return self.to_levels(_smooth(_smooth(disks, weights.tolist(), 2), weights.tolist(), 3))

        return apply_in_blocks(images, blur)


def disk(radius: float) -> list[tuple[int, int]]:
    """Pixels (down, right) within a radius of the centre."""
    side = range(-int(radius), int(radius) + 1)
    return [(y, x) for y in side for x in side if x * x + y * y <= radius * radius]


def reference_gain(radius: float, weights: NDArray[np.float64]) -> float:
    """Sum of the reference's kernel.

    The reference smooths the disk with ``weights`` (centre first) on a grid of at least 17 x 17 pixels, mirrored at its
    edges. If the disk is as wide as the grid, the pixels beyond an edge mirror the next row of the disk instead of
    zeros.
    """
    far, reach = max(8, int(radius)), len(weights) - 1
    grid = np.zeros((2 * far + 1, 2 * far + 1))
    for y, x in disk(radius):
        grid[far + y, far + x] = 1
    taken = border_indices(len(grid), reach, "mirror")
    window = np.convolve(np.ones(len(grid)), np.concatenate([weights[:0:-1], weights]))
    return float(window @ grid[np.ix_(taken, taken)] @ window / grid.sum())


def disk_sums(images: Tensor, radius: float) -> Tensor:
    """Sum over the disk around each pixel that has a complete disk.

    Maps uint8 (B, C, H, W) to int32, 2 radius smaller per side. A row of the disk is the difference of two running
    sums; rows of equal width are added first.
    """
    far = int(radius)
    height, width = (side - 2 * far for side in images.shape[-2:])
    running = torch.zeros((*images.shape[:3], images.shape[3] + 1), dtype=torch.int32, device=images.device)
    torch.cumsum(images, 3, dtype=torch.int32, out=running[..., 1:])
    total = torch.zeros((*images.shape[:2], height, width), dtype=torch.int32, device=images.device)
    rows = sorted(range(-far, far + 1), key=abs)
    for half, equal in groupby(rows, lambda row: isqrt(int(radius * radius) - row * row)):
        taken = [running[:, :, far + row : far + row + height] for row in equal]
        lines = taken[0].clone() if len(taken) > 1 else taken[0]
        for other in taken[1:]:
            lines += other
        total += lines[..., far + half + 1 : far + half + 1 + width]
        total -= lines[..., far - half : far - half + width]
    return total


def _smooth(values: Tensor, weights: list[float], dim: int) -> Tensor:
    """Symmetric filter along one dimension, which loses its margins.

    Sums have a fixed order and products are computed separately, so that results do not depend on the device.
    """
    reach = len(weights) - 1
    side = values.shape[dim] - 2 * reach
    total = values.narrow(dim, reach, side) * weights[0]
    for offset, weight in enumerate(weights[1:], 1):
        pair = values.narrow(dim, reach - offset, side) + values.narrow(dim, reach + offset, side)
        total += pair.mul_(weight)
    return total
