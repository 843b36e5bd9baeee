"""Random fields over the pixels of an image: coordinates, and work in blocks that fit in the cache."""

from collections.abc import Callable

import torch
from torch import Tensor

from robustbench_wb.stressors.corruptions.filters import cache_blocks


def pixel_grid(images: Tensor) -> tuple[Tensor, Tensor]:
    """Row (H, 1) and column (1, W) of every pixel of images (..., H, W), float64."""
    height, width = images.shape[-2:]
    rows = torch.arange(height, dtype=torch.float64, device=images.device)
    columns = torch.arange(width, dtype=torch.float64, device=images.device)
    return rows[:, None], columns[None]


def numbers_of_images(draws: Tensor) -> tuple[Tensor, ...]:
    """Draws (B, K) as K tensors (B, 1, 1), float64, which broadcast over the pixels of each image."""
    return draws.double()[:, :, None, None].unbind(1)


def in_blocks(images: Tensor, ids: Tensor, work: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Apply ``work`` to images and sample ids in small blocks: uint8 (B, C, H, W) to uint8 of the same shape."""
    found = torch.empty_like(images)
    for rows in cache_blocks(images):
        found[rows] = work(images[rows], ids[rows])
    return found
