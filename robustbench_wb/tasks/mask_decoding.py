"""Decoding of images and their segmentation masks to arrays of one size."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from robustbench_wb.models.image_geometry import ImageGeometry
from robustbench_wb.models.segmentation_shape import VOID, SegmentationShape
from robustbench_wb.spec import Spec
from robustbench_wb.tasks.fitting_patch import fitting_patch
from robustbench_wb.tasks.pictures.decode import decode_picture

_MASK_MODES: Final = ("1", "L", "P", "I", "I;16")
"""Modes of Pillow whose pixels are one number each."""
_OUTPUTS: Final = 4096
"""Largest number of outputs per patch token for which every pixel has logits of its own."""


class MaskFormat(Spec):
    """How pictures become images, and the numbers of their masks become labels."""

    size: int = Field(default=64, ge=2, le=1024)
    """Side in pixels to which images (bilinear) and masks (nearest pixel) are scaled, without regard to the ratio."""
    void: int = Field(default=255, ge=0)
    """Number of mask pixels that do not count."""
    zero_is_void: bool = False
    """Whether pixels of number 0 do not count either, and number 1 is class 0, as in ADE20K."""

    def image(self, picture: Image.Image) -> NDArray[np.uint8]:
        """Decode a picture to levels, uint8 (3, size, size).

        Raises:
            ValueError: the picture has more than 8 bits per channel.
        """
        return decode_picture(picture, ImageGeometry(size=self.size, interpolation="bilinear", crop="squash"), 3)

    def mask(self, picture: Image.Image) -> NDArray[np.int16]:
        """Decode a mask to labels, int16 (size, size); ``VOID`` where pixels do not count.

        Raises:
            ValueError: pixels are colours, or a number is larger than 32,766.
        """
        if picture.mode not in _MASK_MODES:
            raise ValueError(f"its mode {picture.mode} is not a number per pixel")
        numbers = np.asarray(picture).astype(np.int64)
        scaled = numbers[_nearest(numbers.shape[0], self.size)][:, _nearest(numbers.shape[1], self.size)]
        if int(scaled.max()) > np.iinfo(np.int16).max - 1:
            raise ValueError(f"it has the number {int(scaled.max())}, and classes are numbered up to 32,766")
        labels = scaled - int(self.zero_is_void)
        return np.where((scaled == self.void) | (labels < 0), VOID, labels).astype(np.int16)

    def shape(self, classes: int) -> SegmentationShape:
        """Shape of a task with so many classes; patches of many classes have one vector of logits each."""
        patch = fitting_patch(self.size, self.size)
        stride = 1 if patch * patch * classes <= _OUTPUTS else patch
        return SegmentationShape(
            channels=3, height=self.size, width=self.size, classes=classes, patch=patch, stride=stride
        )


def _nearest(side: int, size: int) -> NDArray[np.int64]:
    """Row or column of the old pixel in whose area the centre of each new pixel lies."""
    return (2 * np.arange(size) + 1) * side // (2 * size)
