"""The embedded tasks: 1,797 real handwritten digits that come with scikit-learn, 8x8 or enlarged. Need no network."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from robustbench_wb.tasks.task import Dataset, Split, image_shape

TEST_SAMPLES = 360
_SPLIT_SEED = 0


class Digits:
    """UCI optical recognition of handwritten digits (Alpaydin & Kaynak 1998), the test part that scikit-learn ships.

    Ink levels 0..16 become 8-bit levels round(255 v / 16). 360 samples, drawn once by a fixed permutation, are the
    test split; the other 1,437 are the training split. Sample ids count within a split. ``digits-32`` has the same
    images enlarged to 32x32 (bicubic): corruptions are made for images of at least 28 pixels.
    """

    def __init__(self, name: str, side: int, patch: int) -> None:
        self.name, self.side, self.patch = name, side, patch

    def load(self, data_dir: str | None) -> Dataset:
        """Load from scikit-learn; a mirror is not needed and not looked at."""
        table = _table()
        ink = table[:, :-1].reshape(-1, 8, 8)
        images = self._enlarged(np.rint(ink * (255 / 16)).astype(np.uint8))[:, None]
        labels = table[:, -1].astype(np.int64)
        # RandomState is numpy's frozen generator: its streams never change between releases.
        order = np.random.RandomState(_SPLIT_SEED).permutation(len(labels))
        test, train = np.sort(order[:TEST_SAMPLES]), np.sort(order[TEST_SAMPLES:])
        share = Split(images[train], labels[train])
        classes = tuple(str(digit) for digit in range(10))
        shape = image_shape(share, 10, patch=self.patch)
        return Dataset(self.name, classes, share, Split(images[test], labels[test]), shape)

    def _enlarged(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if images.shape[1] == self.side:
            return images
        size = (self.side, self.side)
        return np.stack(
            [np.asarray(Image.fromarray(one).resize(size, Image.Resampling.BICUBIC), np.uint8) for one in images]
        )


def _table() -> NDArray[np.float64]:
    """1,797 rows of 64 ink levels and a label. Only the file is read: importing scikit-learn takes half a second."""
    package = find_spec("sklearn")
    for folder in (package.submodule_search_locations or ()) if package else ():
        file = Path(folder, "datasets", "data", "digits.csv.gz")
        if file.is_file():
            return np.loadtxt(file, delimiter=",")
    from sklearn.datasets import load_digits  # wherever this release keeps it

    bunch = load_digits()
    return np.column_stack([bunch.data, bunch.target]).astype(np.float64)


DIGITS = Digits("digits", side=8, patch=2)
DIGITS_32 = Digits("digits-32", side=32, patch=8)
