"""Embedded digits compared with scikit-learn, and the digest of a split."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from robustbench_wb.models.shape import ImageShape
from robustbench_wb.tasks.catalogue import TASKS, find_task
from robustbench_wb.tasks.task import Dataset, Split
from tests.known import a

# Digests of the data of all published results on digits. Other data make old tables not comparable.
GOLDEN = {
    "train": "11a3375ba088421c9768f4819631e1bf2dcecfecccda3b709a427360bf4218f8",
    "test": "2e07d6d5527fe6efb9f0b79f7b71e1eb6cee853222825f98b1688a519b0628c6",
}


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return find_task("digits").load(None)


def test_shape_of_the_task(digits: Dataset) -> None:
    assert digits.train.inputs.shape == (1437, 1, 8, 8)
    assert digits.test.inputs.shape == (360, 1, 8, 8)
    assert digits.train.inputs.dtype == np.uint8
    assert digits.train.labels.dtype == np.int64
    assert (len(digits.train), len(digits.test)) == (1437, 360)
    assert digits.classes == tuple("0123456789")
    assert (digits.label, a(ImageShape, digits.shape).patch) == ("digits", 2)
    assert set(digits.test.labels) == set(range(10))


def test_splits_are_disjoint_and_complete(digits: Dataset) -> None:
    bunch = load_digits()
    assert len(np.unique(bunch.data, axis=0)) == 1797  # so that an image identifies its sample
    where = {image.tobytes(): index for index, image in enumerate(np.rint(bunch.images * 255 / 16).astype(np.uint8))}
    found = {
        name: np.array([where[image.tobytes()] for image in split.inputs])
        for name, split in (("train", digits.train), ("test", digits.test))
    }
    assert sorted([*found["train"], *found["test"]]) == list(range(1797))
    for name, split in (("train", digits.train), ("test", digits.test)):
        assert (np.diff(found[name]) > 0).all()  # in the order of the source
        assert (split.labels == bunch.target[found[name]]).all()


def test_ink_levels(digits: Dataset) -> None:
    levels = np.unique(np.concatenate([digits.train.inputs.ravel(), digits.test.inputs.ravel()]))
    assert levels.tolist() == [round(255 * ink / 16) for ink in range(17)]
    # The first zero of scikit-learn: rows known from its documentation.
    first = np.array([0, 0, 5, 13, 9, 1, 0, 0]) * 255 / 16
    assert any((image[0, 0] == np.rint(first)).all() for image in [*digits.train.inputs, *digits.test.inputs])


def test_golden_digests(digits: Dataset) -> None:
    assert {"train": digits.train.digest(), "test": digits.test.digest()} == GOLDEN


def test_a_mirror_is_not_looked_at() -> None:
    assert find_task("digits").load("/nowhere/at/all").label == "digits"
    assert "digits" in TASKS


def test_digest_sees_one_pixel_one_label_and_the_order(digits: Dataset) -> None:
    images, labels = digits.test.inputs[:20], digits.test.labels[:20]
    one_pixel, one_label = images.copy(), labels.copy()
    one_pixel[7, 0, 3, 3] += 1
    one_label[7] = (one_label[7] + 1) % 10
    splits = [
        Split(inputs=images, labels=labels),
        Split(inputs=one_pixel, labels=labels),
        Split(inputs=images, labels=one_label),
        Split(inputs=images[::-1], labels=labels[::-1]),
        Split(inputs=images[:19], labels=labels[:19]),
        Split(inputs=images.reshape(20, 1, 4, 16), labels=labels),
        Split(inputs=images.transpose(0, 1, 3, 2), labels=labels),
    ]
    assert len({split.digest() for split in splits}) == len(splits)
    assert Split(inputs=images.copy(order="F"), labels=labels).digest() == splits[0].digest()
