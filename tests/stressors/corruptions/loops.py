"""Reference implementations of the corruptions: loops, scipy's filters and numpy's draws, one image at a time.

Images are float64 (H, W, C) from 0 to 1; results are truncated like the reference's (Hendrycks & Dietterich 2019).
"""

from collections.abc import Callable
from math import ceil, cos, sin
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Image = NDArray[np.float64]
Levels = NDArray[np.uint8]


def levels(x: Image) -> Levels:
    """Truncate to levels, with a tolerance for sums that rounding leaves just below an integer."""
    return np.floor(np.clip(x, 0, 1) * 255 + 1e-6).astype(np.uint8)


def gaussian_noise(x: Image, c: float, draw: np.random.Generator) -> Image:
    return x + draw.normal(0, c, x.shape)


def shot_noise(x: Image, c: float, draw: np.random.Generator) -> Image:
    return draw.poisson(x * c) / c


def speckle_noise(x: Image, c: float, draw: np.random.Generator) -> Image:
    return x + x * draw.normal(0, c, x.shape)


def impulse_noise(x: Image, c: float, draw: np.random.Generator) -> Image:
    struck, white = draw.random(x.shape) < c, draw.random(x.shape) < 0.5
    return np.where(struck, white.astype(float), x)


def gaussian_blur(x: Image, sigma: float) -> Image:
    return ndimage.gaussian_filter(x, (sigma, sigma, 0), mode="nearest", truncate=4)


def defocus_kernel(radius: float, sigma: float) -> Image:
    """Disk on its grid, smoothed there; its sum is not 1 if the disk is as wide as the grid."""
    side, small = (np.arange(-8, 9), 1) if radius <= 8 else (np.arange(-int(radius), int(radius) + 1), 2)
    disk = (side[:, None] ** 2 + side**2 <= radius**2).astype(float)
    bell = np.exp(-(np.arange(-small, small + 1) ** 2) / (2 * sigma**2))
    bell /= bell.sum()
    return ndimage.correlate(disk / disk.sum(), np.outer(bell, bell), mode="mirror")


def defocus_blur(x: Image, radius: float, sigma: float) -> Image:
    return ndimage.correlate(x, defocus_kernel(radius, sigma)[:, :, None], mode="mirror")


def motion_blur(x: Image, angle: float, radius: int, sigma: float) -> Image:
    height, width = x.shape[:2]
    weights = np.exp(-(np.arange(2 * radius + 1) ** 2) / (2 * sigma**2))
    out = np.zeros_like(x)
    for i, weight in enumerate(weights / weights.sum()):
        rows = np.clip(np.arange(height) + ceil(i * sin(angle) - 0.5), 0, height - 1)
        columns = np.clip(np.arange(width) + ceil(i * cos(angle) - 0.5), 0, width - 1)
        out += weight * x[rows][:, columns]
    return out


def zoom_blur(x: Image, factors: NDArray[np.float64]) -> Image:
    total = x.copy()
    for factor in factors:
        crops = [ceil(side / factor) for side in x.shape[:2]]
        inside = tuple(
            slice((side - crop) // 2, (side - crop) // 2 + crop) for side, crop in zip(x.shape[:2], crops, strict=True)
        )
        large = ndimage.zoom(x[inside], (factor, factor, 1), order=1)
        top, left = ((out - side) // 2 for out, side in zip(large.shape[:2], x.shape[:2], strict=True))
        total += large[top : top + x.shape[0], left : left + x.shape[1]]
    return total / (len(factors) + 1)


Offsets = Callable[[int, int], tuple[int, int]]
"""From a pixel (h, w) to the offset (down, right) that it draws."""


def scan(places: NDArray[Any], reach: int, offset: Offsets, reference: bool) -> None:
    """One scan of glass blur, in place, pixel by pixel, over the first two axes."""
    height, width = places.shape[:2]
    shift = 0 if reference else 1
    for h in range(height - reach - shift, reach - shift, -1):
        for w in range(width - reach - shift, reach - shift, -1):
            down, right = offset(h, w)
            other = places[h + down, w + right].copy()
            if not reference:
                places[h + down, w + right] = places[h, w]
            places[h, w] = other


def glass_blur(x: Image, sigma: float, reach: int, scans: int, draw: np.random.Generator) -> Image:
    """Glass blur of the reference: offsets from {-reach..reach-1}, neighbours keep their value."""
    out = levels(gaussian_blur(x, sigma))
    for _ in range(scans):
        scan(out, reach, lambda h, w: tuple(draw.integers(-reach, reach, 2)), reference=True)
    return gaussian_blur(out / 255, sigma)
