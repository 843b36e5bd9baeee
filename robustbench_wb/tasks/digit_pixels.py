"""Embedded digits as pixel sequences: an image task without knowledge of the two-dimensional structure."""

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.models.shape import TextShape
from robustbench_wb.tasks.digits import DIGITS
from robustbench_wb.tasks.pixel_tokens import level_tokens
from robustbench_wb.tasks.task import Dataset, Split
from robustbench_wb.tasks.task_tokenizer import SPECIAL


class PixelDigitsTask:
    """Sequences of ``[CLS]`` and the 64 ink levels (0 to 16) of a digit in raster order, on the samples of ``digits``.

    The format follows the image task of Long Range Arena (Tay et al. 2021, arXiv 2011.04006).
    """

    name = "digits-sequence"

    def load(self, data_dir: str | None) -> Dataset:
        """Load both splits of the embedded digits; ``data_dir`` is ignored."""
        images = DIGITS.load(data_dir)
        train, test = (
            Split(inputs=_sequences(part.inputs), labels=part.labels) for part in (images.train, images.test)
        )
        shape = TextShape(vocabulary=len(SPECIAL) + 17, length=65, classes=10)
        return Dataset(label=self.name, classes=images.classes, train=train, test=test, shape=shape)


def _sequences(images: NDArray[np.uint8]) -> NDArray[np.int32]:
    return level_tokens(np.rint(images * (16 / 255)).astype(np.uint8))


DIGITS_SEQUENCE = PixelDigitsTask()
