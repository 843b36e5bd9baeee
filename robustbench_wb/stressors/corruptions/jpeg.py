"""JPEG compression at low quality."""

from collections.abc import Iterator
from io import BytesIO
from typing import ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from robustbench_wb.stressors.corruptions.channel_planes import join_planes, split_planes
from robustbench_wb.stressors.corruptions.corruption import Corruption

COLUMN_PIXELS = 1 << 16
"""Pixels that Pillow holds at once. Cannot change a result."""


class JpegCompression(Corruption):
    """JPEG with 4:2:0 chroma subsampling and back (Hendrycks & Dietterich 2019), by Pillow's libjpeg."""

    name: ClassVar[str] = "jpeg-compression"
    fidelity = "E"
    constants: ClassVar = {
        32: (80, 65, 58, 50, 40),
        64: (65, 58, 50, 40, 25),
        224: (25, 18, 15, 10, 7),
    }

    def perturb(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Compress and decompress the images; no random draws."""
        quality = cast("int", self.severity_constants(images.shape))
        found = np.empty(tuple(images.shape), np.uint8)
        for picture, planes in zip(_pictures(images.cpu().numpy()), found, strict=True):
            split_planes(_through_jpeg(picture, quality), planes)
        return torch.from_numpy(found).to(images.device)


def _pictures(images: NDArray[np.uint8]) -> Iterator[Image.Image]:
    """Yield each image, (B, C, H, W) in all, as a picture. Small ones are cut from a column of several."""
    count, _, height, width = images.shape
    together = max(1, COLUMN_PIXELS // (height * width))
    for first in range(0, count, together):
        some = images[first : first + together].swapaxes(0, 1)
        picture = join_planes([np.ascontiguousarray(band).reshape(-1, width) for band in some])
        for top in range(0, picture.height, height):
            yield picture if together == 1 else picture.crop((0, top, width, top + height))


def _through_jpeg(picture: Image.Image, quality: int) -> Image.Image:
    """A picture compressed and decompressed."""
    file = BytesIO()
    picture.save(file, "JPEG", quality=quality, subsampling="4:2:0")
    # The decoder alone: what the header says is known.
    return Image.frombytes(picture.mode, picture.size, file.getbuffer(), "jpeg", picture.mode, "")
