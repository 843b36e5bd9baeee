"""Zoom blur: the camera moves forward."""

from collections import Counter
from functools import lru_cache
from math import ceil
from typing import ClassVar, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustbench_wb.stressors.corruptions.corruption import Corruption
from robustbench_wb.stressors.corruptions.filters import BandedMatrix, apply_in_blocks, exact_floats

_PLACES = 4  # binary digits after the point of a level between the two passes


class ZoomBlur(Corruption):
    """Mean of an image and of its centre enlarged by factors from 1 on (Hendrycks & Dietterich 2019).

    Interpolation is bilinear with aligned corners. Factor 1 is included, so the image counts twice. Factors with equal
    crop and size in pixels are computed once.
    """

    name: ClassVar[str] = "zoom-blur"
    fidelity = "E"
    constants: ClassVar = {  # last factor, step
        32: ((1.06, 0.01), (1.11, 0.01), (1.15, 0.01), (1.20, 0.01), (1.25, 0.01)),
        64: ((1.06, 0.01), (1.11, 0.01), (1.15, 0.01), (1.20, 0.01), (1.25, 0.01)),
        224: ((1.11, 0.01), (1.15, 0.01), (1.20, 0.02), (1.24, 0.02), (1.30, 0.03)),
    }

    def perturb(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Blur the images; no random draws."""
        last, step = cast("tuple[float, float]", self.severity_constants(images.shape))
        dtype, (height, width) = exact_floats(images.device), images.shape[-2:]
        zooms = _zooms(height, width, last, step=step, dtype=dtype, device=images.device)
        count = 1 + sum(zoom.times for zoom in zooms)

        def blur(block: Tensor) -> Tensor:
            values, total = block.to(dtype), block.float()
            for zoom in zooms:
                # 8 + 16 bits, rounded to 8 + 4; then times 12 bits.
                total += zoom.down.columns(zoom.along.rows(values).round_()).float().mul_(zoom.times)
            return self.to_levels(total / count)

        return apply_in_blocks(images, blur)


class _Zoom(NamedTuple):
    """Enlargement of the centre of an image."""

    down: BandedMatrix
    along: BandedMatrix
    times: int
    """Number of factors that it stands for."""


@lru_cache(maxsize=16)
def _zooms(
    height: int, width: int, last: float, *, step: float, dtype: torch.dtype, device: torch.device
) -> tuple[_Zoom, ...]:
    """Enlargements by the factors 1, 1 + step, ... ``last``."""
    factors = np.arange(1, last + step / 2, step).tolist()
    sizes = Counter(tuple(zoomed(side, factor) for side in (height, width)) for factor in factors)
    zooms = []
    for (tall, wide), times in sizes.items():
        down = zoom_matrix(height, crop=tall[0], size=tall[1]) / 2**_PLACES
        along = zoom_matrix(width, crop=wide[0], size=wide[1]) * 2**_PLACES
        zooms.append(_Zoom(BandedMatrix(down.to(device, dtype)), BandedMatrix(along.to(device, dtype)), times))
    return tuple(zooms)


def zoomed(side: int, factor: float) -> tuple[int, int]:
    """Pixels of the crop, and of its enlargement, which is then trimmed to the side."""
    crop = ceil(side / factor)
    return crop, round(crop * factor)


def neighbours(side: int, crop: int, size: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Linear interpolation from a crop to the central pixels of its enlargement, with aligned corners.

    Returns the lower source pixel and the distance from it, (side,) each.
    """
    pixels = np.arange(side, dtype=np.float64) + (size - side) // 2
    positions: NDArray[np.float64] = pixels * ((crop - 1) / max(1, size - 1))
    low: NDArray[np.int64] = np.minimum(positions.astype(np.int64), max(0, crop - 2))
    return low, positions - low


def zoom_matrix(side: int, crop: int, size: int) -> Tensor:
    """Matrix that enlarges the centre of a line of pixels: float64 (side, side), multiples of 2^-12, rows sum to 1."""
    low, part = neighbours(side, crop, size)
    part = np.round(part * 2**12) / 2**12
    matrix = np.zeros((side, side))
    taken = low + (side - crop) // 2
    matrix[np.arange(side), taken] = 1 - part
    matrix[np.arange(side), taken + 1] = part
    return torch.from_numpy(matrix)
