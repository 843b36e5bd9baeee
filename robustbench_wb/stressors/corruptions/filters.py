"""Linear filters whose results do not depend on summation order: integer levels times integer weights, exact in floats.

A level has 8 bits. Weights that are multiples of 2^-16 give sums below 2^24 (float32); two passes of weights that are
multiples of 2^-20 give sums below 2^48 (float64). No addition rounds, so the batch, the device and the matrix library
cannot change a bit. Weights sum to exactly 1: a constant image is unchanged.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Border = Literal["nearest", "mirror", "reflect"]
"""Pixels beyond an edge, in SciPy's names. ``nearest``: the last pixel repeated. ``mirror``: mirrored about the centre
of the last pixel (reflect-101). ``reflect``: mirrored about its outer side, so that it appears twice."""
BLOCK_VALUES = 1 << 16
"""Pixel values processed at once, so that they stay in the cache of a core. Cannot change a result."""
_BAND = 32
"""Rows of a banded matrix multiplied at once. Cannot change a result."""


def whole_weights(weights: NDArray[np.float64], bits: int) -> NDArray[np.float64]:
    """Round weights to multiples of 2^-bits that sum to 1 (largest-remainder rounding).

    Each weight changes by less than 2^-bits.
    """
    exact = weights / weights.sum() * 2**bits
    whole: NDArray[np.float64] = np.floor(exact)
    missing = int(2**bits - whole.sum())
    whole[np.argsort(whole - exact, kind="stable")[:missing]] += 1
    whole /= 2**bits
    return whole


def border_indices(side: int, reach: int, border: Border) -> NDArray[np.int64]:
    """Source pixel of the positions -reach .. side - 1 + reach of an extended line, int64 (side + 2 reach,)."""
    places = np.arange(-reach, side + reach)
    if border == "nearest":
        return places.clip(0, side - 1)
    twice = int(border == "reflect")
    period = max(1, 2 * (side - 1 + twice))
    places = places % period
    return np.minimum(places, period - twice - places)


def cache_blocks(images: Tensor) -> Iterator[slice]:
    """Slices of a batch that fit in the cache."""
    size = max(1, BLOCK_VALUES // max(1, images[0].numel())) if len(images) else 1
    return (slice(start, start + size) for start in range(0, len(images), size))


def exact_floats(device: torch.device) -> torch.dtype:
    """float32 where matrix products keep its 24 bits, float64 where they may not (TF32, bfloat16)."""
    full = device.type == "cpu" and torch.get_float32_matmul_precision() == "highest"
    return torch.float32 if full else torch.float64


def apply_in_blocks(images: Tensor, work: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply ``work`` to images in small blocks: uint8 (B, C, H, W) to uint8 of the same shape."""
    found = torch.empty_like(images)
    for rows in cache_blocks(images):
        found[rows] = work(images[rows])
    return found


def gaussian_matrix(side: int, sigma: float, truncate: float = 4.0, border: Border = "nearest") -> Tensor:
    """Matrix that blurs a line of pixels: float64 (side, side), multiples of 2^-20; truncated at ``truncate`` sigma.

    ``sigma`` is in pixels.
    """
    reach = int(truncate * sigma + 0.5)
    offsets = np.arange(-reach, reach + 1)
    weights = whole_weights(np.exp(-(offsets**2) / (2 * sigma**2)), 20)
    matrix = np.zeros((side, side))
    taken = border_indices(side, reach, border)
    for offset, weight in enumerate(weights):
        np.add.at(matrix, (np.arange(side), taken[offset : offset + side]), weight)
    return torch.from_numpy(matrix)


class BandedMatrix:
    """Banded matrix (W', W), applied to lines of pixels: only the band is multiplied."""

    def __init__(self, matrix: Tensor) -> None:
        self.parts: list[tuple[Tensor, slice]] = []
        for part in torch.split(matrix, _BAND):
            used = part.any(0).nonzero()
            columns = slice(int(used[0]), int(used[-1]) + 1)
            self.parts.append((part[:, columns].contiguous(), columns))

    def rows(self, values: Tensor) -> Tensor:
        """Product with each row of pixels: (..., H, W) to (..., H, W')."""
        return _joined([values[..., columns] @ part.T for part, columns in self.parts], -1)

    def columns(self, values: Tensor) -> Tensor:
        """Product with each column of pixels: (..., H, W) to (..., H', W)."""
        return _joined([part @ values[..., columns, :] for part, columns in self.parts], -2)


def _joined(parts: list[Tensor], dim: int) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)


def gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of sigma pixels, truncated at 4 sigma, with the last pixel repeated beyond the edges.

    Maps uint8 (B, C, H, W) to float32 of the same shape, on the scale 0..255: exact for weights rounded to 2^-20.
    """
    down, along = (_gaussian(side, sigma, images.device) for side in images.shape[-2:])
    return down.columns(along.rows(images.double())).float()


@lru_cache(maxsize=16)
def _gaussian(side: int, sigma: float, device: torch.device) -> BandedMatrix:
    return BandedMatrix(gaussian_matrix(side, sigma).to(device))
