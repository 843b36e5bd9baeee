"""JPEG compression at low quality."""

from io import BytesIO
from typing import ClassVar, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from robustbench_wb.stressors.corruptions.corruption import Corruption


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
        count, channels, height, width = images.shape
        mode = "L" if channels == 1 else "RGB"
        found = np.empty(tuple(images.shape), np.uint8)
        if not count:
            return images.clone()  # Pillow cannot hold an empty picture
        # Pillow joins and splits channels three times faster than numpy or torch reorder them.
        column = _column(images.cpu(), mode)
        for number, planes in enumerate(found):
            top = number * height
            picture = _through_jpeg(column.crop((0, top, width, top + height)), quality)
            for channel, plane in zip(mode, planes, strict=True):
                plane[...] = np.frombuffer(picture.tobytes("raw", channel), np.uint8).reshape(plane.shape)
        return torch.from_numpy(found).to(images.device)


def _column(images: Tensor, mode: str) -> Image.Image:
    """All images (B, C, H, W) as one picture, one below the other."""
    height, width = len(images) * images.shape[2], images.shape[3]
    bands = [Image.fromarray(band.reshape(height, width).numpy()) for band in images.unbind(1)]
    return bands[0] if mode == "L" else Image.merge(mode, bands)


def _through_jpeg(picture: Image.Image, quality: int) -> Image.Image:
    """A picture compressed and decompressed."""
    file = BytesIO()
    picture.save(file, "JPEG", quality=quality, subsampling="4:2:0")
    decoded = Image.open(file, formats=("JPEG",))
    decoded.load()
    return decoded
