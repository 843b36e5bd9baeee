"""Fields over the pixels of an image: coordinates, values between pixels, and work in blocks that fit in the cache."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import pad

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


def bilinear(images: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Bilinear values of float64 images (B, C, H, W) at rows and columns (B, H, W); the outside is 0."""
    height, width = images.shape[-2:]
    framed = pad(images, (1, 2, 1, 2))
    y, x = y.clamp(-1, height) + 1, x.clamp(-1, width) + 1
    top, left = y.floor(), x.floor()
    part_y, part_x = (y - top)[:, None], (x - left)[:, None]
    flat = framed.flatten(2)

    def pixel(below: int, right: int) -> Tensor:
        places = (top.long() + below) * (width + 3) + left.long() + right
        return flat.gather(2, places.flatten(1)[:, None].expand(-1, images.shape[1], -1)).view(images.shape)

    upper = pixel(0, 0) * (1 - part_x) + pixel(0, 1) * part_x
    lower = pixel(1, 0) * (1 - part_x) + pixel(1, 1) * part_x
    return upper * (1 - part_y) + lower * part_y
