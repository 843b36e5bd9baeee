"""Datasets with invalid samples are rejected when they are loaded, also those of plug-in tasks."""

import numpy as np
import pytest

from robustbench_wb.errors import DataError
from robustbench_wb.models.shape import ImageShape, TextShape
from robustbench_wb.tasks.task import Dataset, Split

IMAGES = ImageShape(channels=1, height=4, width=4, classes=3, patch=2)
TEXTS = TextShape(vocabulary=9, length=5, classes=3)
LEVELS = np.zeros((6, 1, 4, 4), np.uint8)
TOKENS = np.ones((6, 5), np.int32)
LABELS = np.arange(6) % 3


def dataset(good: Split, bad: Split, place: str, shape: ImageShape | TextShape) -> Dataset:
    parts = {"train": good, "test": good, "validation": good} | {place: bad}
    return Dataset(
        label="mine",
        classes=("a", "b", "c"),
        train=parts["train"],
        test=parts["test"],
        shape=shape,
        validation=parts["validation"],
    )


@pytest.mark.parametrize("place", ["train", "test", "validation"])
@pytest.mark.parametrize(
    ("inputs", "labels", "words"),
    [
        (LEVELS, LABELS + 1, "labels run from 1 to 3; the task has 3 classes"),
        (LEVELS, LABELS - 1, "labels run from -1 to 1"),
        (LEVELS[:0], LABELS[:0], "0 inputs and 0 labels"),
        (LEVELS[:4], LABELS, "4 inputs and 6 labels"),
        (LEVELS.astype(np.float32) + 1.5, LABELS, "these are float32"),
        (np.full(LEVELS.shape, np.nan, np.float32), LABELS, "these are float32"),
        (LEVELS[:, :, :3], LABELS, r"uint8 \(1, 4, 4\); these are uint8 \(1, 3, 4\)"),
    ],
)
def test_bad_images_are_refused(place: str, inputs: np.ndarray, labels: np.ndarray, words: str) -> None:
    with pytest.raises(DataError, match=f"task 'mine', {place} split: .*{words}") as refused:
        dataset(Split(inputs=LEVELS, labels=LABELS), Split(inputs=inputs, labels=labels), place, IMAGES)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("inputs", "labels", "words"),
    [
        (TOKENS, LABELS + 1, "labels run from 1 to 3"),
        (TOKENS.astype(np.float64), LABELS, "tokens must be integers"),
        (TOKENS[:0], LABELS[:0], "0 inputs and 0 labels"),
    ],
)
def test_bad_texts_are_refused(inputs: np.ndarray, labels: np.ndarray, words: str) -> None:
    with pytest.raises(DataError, match=words):
        dataset(Split(inputs=TOKENS, labels=LABELS), Split(inputs=inputs, labels=labels), "test", TEXTS)


def test_good_samples_are_taken() -> None:
    assert (
        len(dataset(Split(inputs=LEVELS, labels=LABELS), Split(inputs=LEVELS, labels=LABELS), "test", IMAGES).test) == 6
    )
    assert (
        len(dataset(Split(inputs=TOKENS, labels=LABELS), Split(inputs=TOKENS, labels=LABELS), "test", TEXTS).test) == 6
    )
