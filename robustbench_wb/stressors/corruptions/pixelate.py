"""Pixelate: fewer, larger pixels."""

from typing import ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from robustbench_wb.stressors.corruptions.channel_planes import join_planes, split_planes
from robustbench_wb.stressors.corruptions.corruption import Corruption

ALONE_PIXELS = 1 << 14
"""Pixels from which an image is a picture of its own for Pillow. Cannot change a result."""


class Pixelate(Corruption):
    """Box filter down to int(side c) pixels, then enlargement by repetition (Hendrycks & Dietterich 2019; Pillow's
    BOX)."""

    name: ClassVar[str] = "pixelate"
    fidelity = "E"
    constants: ClassVar = {
        32: (0.95, 0.9, 0.85, 0.75, 0.65),
        64: (0.9, 0.8, 0.7, 0.6, 0.5),
        224: (0.6, 0.5, 0.4, 0.3, 0.25),
    }

    def perturb(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Pixelate the images; no random draws."""
        if not len(images):
            return images.clone()  # Pillow cannot hold an empty picture
        height, width = images.shape[-2:]
        scale = cast("float", self.severity_constants(images.shape))
        small = max(1, int(height * scale)), max(1, int(width * scale))
        rows, columns = repeats(small[0], height), repeats(small[1], width)
        levels = images.cpu().numpy()
        found = np.empty_like(levels)
        alone = height * width >= ALONE_PIXELS
        size = 1 if alone else len(images)
        for part in (slice(first, first + size) for first in range(0, len(images), size)):
            means = (_shrink_alone if alone else _shrink_together)(levels[part], *small)
            wide = means.take(columns, axis=3, mode="clip")  # "raise" would copy once more
            wide.take(rows, axis=2, mode="clip", out=found[part])
        return torch.from_numpy(found).to(images.device)


def _shrink_alone(images: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Rounded means over the new pixels, picture by picture: (B, C, H, W) to (B, C, height, width).

    Rows are shrunk first, then the columns of the result: in one call, Pillow would begin with the columns of tall
    pictures. The three colours are shrunk at once, which is faster than one after the other.
    """
    found = np.empty((*images.shape[:2], height, width), np.uint8)
    for image, planes in zip(images, found, strict=True):
        narrow = join_planes(image).resize((width, image.shape[1]), Image.Resampling.BOX)
        split_planes(narrow.resize((width, height), Image.Resampling.BOX), planes)
    return found


def _shrink_together(images: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Rounded means over the new pixels, (B, C, H, W) to (B, C, height, width), in two calls of Pillow for all images.

    Results equal those of ``_shrink_alone``, whose many calls take most of the time where images are small.
    """
    return _shrink_columns(_shrink_rows(images, width), height)


def _shrink_rows(images: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    """Rounded means over the widths of the new pixels: (B, C, H, W) to (B, C, H, width).

    All rows of all images form one picture for Pillow, one below the other. Pillow processes each row alone.
    """
    rows = Image.fromarray(images.reshape(-1, images.shape[-1]))
    return np.asarray(rows.resize((width, rows.height), Image.Resampling.BOX)).reshape(*images.shape[:-1], width)


def _shrink_columns(images: NDArray[np.uint8], height: int) -> NDArray[np.uint8]:
    """Rounded means over the heights of the new pixels: (B, C, H, W) to (B, C, height, W).

    All images form one picture for Pillow, side by side. Pillow processes each column alone.
    """
    count, channels, before, width = images.shape
    row = images.reshape(-1, before, width).swapaxes(0, 1).reshape(before, -1)
    small = np.asarray(Image.fromarray(row).resize((row.shape[1], height), Image.Resampling.BOX))
    return np.ascontiguousarray(small.reshape(height, -1, width).swapaxes(0, 1)).reshape(count, channels, height, width)


def repeats(few: int, many: int) -> NDArray[np.int32]:
    """Index of the source pixel, of ``few``, for each of ``many`` pixels, int32 (many,)."""
    ramp = Image.fromarray(np.arange(few, dtype=np.int32)[None])
    found: NDArray[np.int32] = np.asarray(ramp.resize((many, 1), Image.Resampling.BOX), np.int32)[0]
    return found
