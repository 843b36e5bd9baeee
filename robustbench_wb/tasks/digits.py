"""The embedded task: 1,797 real handwritten digits, 8x8, that come with scikit-learn. Needs no network."""

import numpy as np

from robustbench_wb.tasks.task import Dataset, Split, image_shape

TEST_SAMPLES = 360
_SPLIT_SEED = 0


class Digits:
    """UCI optical recognition of handwritten digits (Alpaydin & Kaynak 1998), the test part that scikit-learn ships.

    Ink levels 0..16 become 8-bit levels round(255 v / 16). 360 samples, drawn once by a fixed permutation, are the
    test split; the other 1,437 are the training split. Sample ids count within a split.
    """

    name = "digits"

    def load(self, data_dir: str | None) -> Dataset:
        """Load from scikit-learn; a mirror is not needed and not looked at."""
        from sklearn.datasets import load_digits

        bunch = load_digits()
        images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
        labels = bunch.target.astype(np.int64)
        # RandomState is numpy's frozen generator: its streams never change between releases.
        order = np.random.RandomState(_SPLIT_SEED).permutation(len(labels))
        test, train = np.sort(order[:TEST_SAMPLES]), np.sort(order[TEST_SAMPLES:])
        share = Split(images[train], labels[train])
        classes = tuple(str(digit) for digit in range(10))
        return Dataset(self.name, classes, share, Split(images[test], labels[test]), image_shape(share, 10, patch=2))


DIGITS = Digits()
