"""Linear filters whose results do not depend on the order of a sum: levels times whole numbers, exact in floats.

A level has 8 bits. Weights that are multiples of 2^-16 give sums below 2^24 (float32), and two passes of weights that
are multiples of 2^-20 sums below 2^48 (float64): no addition rounds, so that a batch, a device or a library of matrix
products cannot change a bit. The weights sum to exactly 1: a constant image stays what it is.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Border = Literal["nearest", "mirror", "reflect"]
"""What lies beyond an edge: its last pixel again, or the image mirrored about the centre of that (reflect-101), or
about its outer side, so that it comes twice. SciPy's names."""
BLOCK_VALUES = 1 << 16
"""Pixel values that are worked on at once, so that they stay in the cache of a core. Cannot change a result."""
_BAND = 32
"""Rows of a banded matrix that are multiplied at once. Cannot change a result."""


def whole_weights(weights: NDArray[np.float64], bits: int) -> NDArray[np.float64]:
    """Weights in proportion to the given ones, as multiples of 2^-bits that sum to 1 (rounding by largest remainder).

    No weight moves by as much as 2^-bits.
    """
    exact = weights / weights.sum() * 2**bits
    whole: NDArray[np.float64] = np.floor(exact)
    missing = int(2**bits - whole.sum())
    whole[np.argsort(whole - exact, kind="stable")[:missing]] += 1
    whole /= 2**bits
    return whole


def beyond(side: int, reach: int, border: Border) -> NDArray[np.int64]:
    """Which pixel of a line stands at -reach .. side - 1 + reach, (side + 2 reach,)."""
    places = np.arange(-reach, side + reach)
    if border == "nearest":
        return places.clip(0, side - 1)
    twice = int(border == "reflect")
    period = max(1, 2 * (side - 1 + twice))
    places = places % period
    return np.minimum(places, period - twice - places)


def blocks(images: Tensor) -> Iterator[slice]:
    """Slices of a batch that fit in the cache."""
    size = max(1, BLOCK_VALUES // max(1, images[0].numel())) if len(images) else 1
    return (slice(start, start + size) for start in range(0, len(images), size))


def exact_floats(device: torch.device) -> torch.dtype:
    """float32 where products of matrices keep its 24 bits, float64 where they may not (TF32, bfloat16)."""
    full = device.type == "cpu" and torch.get_float32_matmul_precision() == "highest"
    return torch.float32 if full else torch.float64


def in_blocks(images: Tensor, work: Callable[[Tensor], Tensor]) -> Tensor:
    """What ``work`` makes of images, a few at a time: uint8 (B, C, H, W) to the same."""
    found = torch.empty_like(images)
    for rows in blocks(images):
        found[rows] = work(images[rows])
    return found


def gaussian_matrix(side: int, sigma: float, truncate: float = 4.0, border: Border = "nearest") -> Tensor:
    """What blurs a line of pixels: float64 (side, side), multiples of 2^-20; sigma in pixels, cut at truncate sigma."""
    reach = int(truncate * sigma + 0.5)
    offsets = np.arange(-reach, reach + 1)
    weights = whole_weights(np.exp(-(offsets**2) / (2 * sigma**2)), 20)
    matrix = np.zeros((side, side))
    taken = beyond(side, reach, border)
    for offset, weight in enumerate(weights):
        np.add.at(matrix, (np.arange(side), taken[offset : offset + side]), weight)
    return torch.from_numpy(matrix)


class Banded:
    """A matrix (W', W) that is zero away from a diagonal, applied to lines of pixels: only its band is multiplied."""

    def __init__(self, matrix: Tensor) -> None:
        self.parts: list[tuple[Tensor, slice]] = []
        for part in torch.split(matrix, _BAND):
            used = part.any(0).nonzero()
            columns = slice(int(used[0]), int(used[-1]) + 1)
            self.parts.append((part[:, columns].contiguous(), columns))

    def rows(self, values: Tensor) -> Tensor:
        """Each row of pixels: (..., H, W) to (..., H, W')."""
        return _joined([values[..., columns] @ part.T for part, columns in self.parts], -1)

    def columns(self, values: Tensor) -> Tensor:
        """Each column of pixels: (..., H, W) to (..., H', W)."""
        return _joined([part @ values[..., columns, :] for part, columns in self.parts], -2)


def _joined(parts: list[Tensor], dim: int) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)


def gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    """A Gaussian of sigma pixels, cut at 4 sigma, edges continued by their last pixel.

    uint8 (B, C, H, W) to float32 of the same shape, on the scale 0..255: the exact one for weights rounded to 2^-20.
    """
    down, along = (_gaussian(side, sigma, images.device) for side in images.shape[-2:])
    return down.columns(along.rows(images.double())).float()


@lru_cache(maxsize=16)
def _gaussian(side: int, sigma: float, device: torch.device) -> Banded:
    return Banded(gaussian_matrix(side, sigma).to(device))
