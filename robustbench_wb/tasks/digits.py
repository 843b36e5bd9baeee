"""Embedded image tasks: the 1,797 handwritten digits that scikit-learn ships, 8x8 or enlarged. No network is needed."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from robustbench_wb.tasks.task import Dataset, Split, image_shape

TEST_SAMPLES = 360
_SPLIT_SEED = 0


class DigitsTask:
    """UCI optical recognition of handwritten digits (Alpaydin & Kaynak 1998), test part, as scikit-learn ships it.

    Ink levels v in 0..16 become 8-bit levels round(255 v / 16). A fixed permutation puts 360 samples into the test
    split and the other 1,437 into the training split. Sample ids count within a split. ``digits-32`` enlarges the
    images to 32x32 (bicubic), because corruptions are designed for images of at least 28 pixels.
    """

    def __init__(self, name: str, side: int, patch: int) -> None:
        self.name, self.side, self.patch = name, side, patch

    def load(self, data_dir: str | None) -> Dataset:
        """Load both splits from scikit-learn; ``data_dir`` is ignored."""
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


def _table() -> NDArray[np.float64]:
    """Table (1797, 65): 64 ink levels and the label per row, read from scikit-learn's file without importing it.

    Importing scikit-learn takes half a second.
    """
    package = find_spec("sklearn")
    for folder in (package.submodule_search_locations or ()) if package else ():
        file = Path(folder, "datasets", "data", "digits.csv.gz")
        if file.is_file():
            return np.loadtxt(file, delimiter=",")
    from sklearn.datasets import load_digits  # for releases that keep the file elsewhere

    bunch = load_digits()
    return np.column_stack([bunch.data, bunch.target]).astype(np.float64)


DIGITS = DigitsTask("digits", side=8, patch=2)
DIGITS_32 = DigitsTask("digits-32", side=32, patch=8)
