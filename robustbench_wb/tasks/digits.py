"""Embedded image tasks: 1,797 handwritten digits, 8x8 or enlarged. No network is needed."""

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from robustbench_wb.tasks.task import Dataset, Split, image_shape

TEST_SAMPLES = 360
_SPLIT_SEED = 0


class DigitsTask:
    """UCI optical recognition of handwritten digits (Alpaydin & Kaynak 1998), test part, in its original order.

    Ink levels v in 0..16 become 8-bit levels round(255 v / 16). A fixed permutation puts 360 samples into the test
    split and the other 1,437 into the training split. Sample ids count within a split. ``digits-32`` enlarges the
    images to 32x32 (bicubic), because corruptions are designed for images of at least 28 pixels.
    """

    def __init__(self, name: str, side: int, patch: int) -> None:
        self.name, self.side, self.patch = name, side, patch

    def load(self, data_dir: str | None) -> Dataset:
        """Load both splits from the embedded file; ``data_dir`` is ignored."""
        table = _table()
        ink = table[:, :-1].reshape(-1, 8, 8)
        images = self._enlarged(np.rint(ink * (255 / 16)).astype(np.uint8))[:, None]
        labels = table[:, -1].astype(np.int64)
        # numpy guarantees the streams of RandomState across releases.
        order = np.random.RandomState(_SPLIT_SEED).permutation(len(labels))
        test, train = np.sort(order[:TEST_SAMPLES]), np.sort(order[TEST_SAMPLES:])
        share = Split(inputs=images[train], labels=labels[train])
        classes = tuple(str(digit) for digit in range(10))
        shape = image_shape(share, 10, patch=self.patch)
        return Dataset(
            label=self.name,
            classes=classes,
            train=share,
            test=Split(inputs=images[test], labels=labels[test]),
            shape=shape,
        )

    def _enlarged(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if images.shape[1] == self.side:
            return images
        size = (self.side, self.side)
        return np.stack(
            [np.asarray(Image.fromarray(one).resize(size, Image.Resampling.BICUBIC), np.uint8) for one in images]
        )


@cache
def _table() -> NDArray[np.float64]:
    """Table (1797, 65) of the embedded file: 64 ink levels 0..16 and the label per row."""
    return np.loadtxt(Path(__file__).with_name("digits.csv.gz"), delimiter=",")


DIGITS = DigitsTask("digits", side=8, patch=2)
DIGITS_32 = DigitsTask("digits-32", side=32, patch=8)
