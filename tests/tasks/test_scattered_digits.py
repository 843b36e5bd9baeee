"""Generated segmentation task: golden data, labels that fit the pixels, and origins of the digits."""

import numpy as np
import pytest

from robustbench_wb.errors import DataError
from robustbench_wb.models.segmentation_shape import VOID, SegmentationShape
from robustbench_wb.tasks.catalogue import find_task
from robustbench_wb.tasks.scattered_digits import TEST, TRAIN
from robustbench_wb.tasks.segmentation import SegmentationDataset, segmentation_split
from tests.known import a

# Other data make old tables not comparable.
GOLDEN = {
    "train": "93c130e3c0ed4af79ec8ef7dc2b087302f25fbe72a412f7ac4f56f37fe1673e9",
    "test": "cc3373b1007457ff3a6a669bd0d7b31450791af57961875de740c126bf1fb13c",
}


@pytest.fixture(scope="module")
def scattered() -> SegmentationDataset:
    return a(SegmentationDataset, find_task("scattered-digits").load(None))


def test_data_are_the_same_on_every_machine(scattered: SegmentationDataset) -> None:
    assert {"train": scattered.train.digest(), "test": scattered.test.digest()} == GOLDEN
    assert (len(scattered.train), len(scattered.test)) == (TRAIN, TEST)
    assert scattered.shape.classes == len(scattered.classes) == 11
    assert set(np.unique(scattered.test.labels)) == set(range(11))


def test_labelled_pixels_are_brighter_than_the_ground(scattered: SegmentationDataset) -> None:
    levels, labels = scattered.test.inputs.mean(1), np.asarray(scattered.test.labels)
    shares = [len(np.unique(mask)) - 1 for mask in labels]
    assert min(shares) >= 1
    assert max(shares) <= 3
    brighter = [image[mask > 0].mean() > image[mask == 0].mean() for image, mask in zip(levels, labels, strict=True)]
    assert np.mean(brighter) == 1.0


def test_the_threshold_is_part_of_what_is_evaluated(scattered: SegmentationDataset) -> None:
    stricter = scattered.shape.model_copy(update={"least_iou": scattered.shape.least_iou / 2})
    other = SegmentationDataset(
        label="other", classes=scattered.classes, train=scattered.train, test=scattered.test, shape=stricter
    )
    assert other.digest != scattered.digest


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (np.full((2, 8, 8), 3, np.int16), "label 0 has 3 to 3; the task has 3 classes"),
        (np.full((2, 8, 8), VOID, np.int16), "no pixel of label 0 counts"),
        (np.zeros((2, 8), np.int16), "2 images of \\(8, 8\\) pixels need as many labels"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels: np.ndarray, reason: str) -> None:
    split = segmentation_split(np.zeros((2, 1, 8, 8), np.uint8), labels)
    shape = SegmentationShape(channels=1, height=8, width=8, classes=3, patch=4)
    with pytest.raises(DataError, match=reason):
        SegmentationDataset(label="bad", classes=("a", "b", "c"), train=split, test=split, shape=shape)
