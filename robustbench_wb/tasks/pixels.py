"""The embedded digits as sequences of pixels: an image task for models that know nothing of images."""

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.models.shape import TextShape
from robustbench_wb.tasks.digits import DIGITS
from robustbench_wb.tasks.levels import level_tokens
from robustbench_wb.tasks.task import Dataset, Split
from robustbench_wb.tasks.vocabulary import SPECIAL


class PixelDigits:
    """``[CLS]`` and the 64 ink levels (0 to 16) of a digit in raster order, in the manner of Long Range Arena's image
    task (Tay et al. 2021, arXiv 2011.04006). The same samples as ``digits``."""

    name = "digits-sequence"

    def load(self, data_dir: str | None) -> Dataset:
        """Load from scikit-learn; a mirror is not needed and not looked at."""
        images = DIGITS.load(data_dir)
        train, test = (Split(_sequences(part.inputs), part.labels) for part in (images.train, images.test))
        shape = TextShape(vocabulary=len(SPECIAL) + 17, length=65, classes=10)
        return Dataset(self.name, images.classes, train, test, shape)


def _sequences(images: NDArray[np.uint8]) -> NDArray[np.int32]:
    return level_tokens(np.rint(images * (16 / 255)).astype(np.uint8))


DIGITS_SEQUENCE = PixelDigits()
