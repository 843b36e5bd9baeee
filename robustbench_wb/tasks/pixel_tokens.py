"""Grey images as token sequences with one token per pixel."""

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.models.shape import TextShape
from robustbench_wb.tasks.task_tokenizer import CLS, SPECIAL

LEVELS = 256
"""Number of grey levels."""


def level_tokens(images: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Token ids of images (N, 1, H, W): ``[CLS]``, then the levels in raster order, int32 (N, 1 + H W).

    Levels are shifted past the special ids, so that no pixel has the id of padding.
    """
    levels = images.reshape(len(images), -1).astype(np.int32) + len(SPECIAL)
    return np.pad(levels, ((0, 0), (1, 0)), constant_values=CLS)


def published_tokens(images: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Token ids of images (N, 1, H, W) as published: a class token 256, then the levels in raster order, (N, 1 + H W).

    Ids are the levels themselves, so that black pixels have the id of padding and models ignore them.
    """
    levels = images.reshape(len(images), -1).astype(np.int32)
    return np.pad(levels, ((0, 0), (1, 0)), constant_values=LEVELS)


def sequence_shape(pixels: int, classes: int, published: bool) -> TextShape:
    """Shape of a sequence task on images: class-token pooling as published, else mean pooling over all pixels."""
    vocabulary = LEVELS + 1 if published else LEVELS + len(SPECIAL)
    return TextShape(vocabulary=vocabulary, length=1 + pixels, classes=classes, pool="cls" if published else "mean")
