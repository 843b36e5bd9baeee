"""Images as sequences: the level of every pixel is a token."""

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.models.shape import TextShape
from robustbench_wb.tasks.vocabulary import CLS, SPECIAL

LEVELS = 256


def level_tokens(images: NDArray[np.uint8]) -> NDArray[np.int32]:
    """``[CLS]`` and the levels of images (N, 1, H, W) in raster order, (N, 1 + H W): no level has the id of
    padding."""
    levels = images.reshape(len(images), -1).astype(np.int32) + len(SPECIAL)
    return np.pad(levels, ((0, 0), (1, 0)), constant_values=CLS)


def published_tokens(images: NDArray[np.uint8]) -> NDArray[np.int32]:
    """The same as published: ids are the levels themselves, so that black pixels pass for padding and are not seen."""
    levels = images.reshape(len(images), -1).astype(np.int32)
    return np.pad(levels, ((0, 0), (1, 0)), constant_values=LEVELS)


def sequence_shape(pixels: int, classes: int, published: bool) -> TextShape:
    """What a row of pixels asks of a model: as published its class token answers, else the mean over all pixels."""
    vocabulary = LEVELS + 1 if published else LEVELS + len(SPECIAL)
    return TextShape(vocabulary=vocabulary, length=1 + pixels, classes=classes, pool="cls" if published else "mean")
