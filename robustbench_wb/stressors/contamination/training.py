"""What contaminations of the training split share: which units are contaminated, draws, and what becomes of texts."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from robustbench_wb import rng
from robustbench_wb.errors import MeasurementError
from robustbench_wb.models.shape import ImageShape
from robustbench_wb.models.tokenizer import Tokenizer
from robustbench_wb.stressors.share import POSITIVE
from robustbench_wb.tasks.task import Dataset

LARGE = 1 << 62
"""A limit for :func:`draw` where the real one is not known yet: its remainder is taken later."""
_CHUNK = 1 << 22  # values drawn at once


def choose(count: int, units: int, seed: int, label: str) -> NDArray[np.int64]:
    """``count`` numbers below ``units``, ascending: the first ones of a random order of all.

    The order knows no rate: what a rate chooses, every higher rate chooses, too.
    """
    return np.sort(rng.permutation(units, seed, f"{label}/chosen")[:count].numpy())


def draw(rows: NDArray[np.int64], count: int, limit: int, seed: int, label: str) -> NDArray[np.int64]:
    """Integers from 0 to ``limit`` - 1, each alike likely, int64 (len(rows), count).

    Those of a row depend on its number alone, not on which others there are.
    """
    words = rng.words(torch.from_numpy(rows), count, seed, label)
    found: NDArray[np.int64] = ((words & POSITIVE) % limit).numpy()
    return found


def draw_images(
    rows: NDArray[np.int64], shape: tuple[int, ...], limit: int, seed: int, label: str
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """The same for every value of images of ``shape``: some of the rows at a time, and their numbers (rows, *shape)."""
    count = math.prod(shape)
    for part in np.split(rows, range(max(1, _CHUNK // count), len(rows), max(1, _CHUNK // count))):
        yield part, draw(part, count, limit, seed, label).reshape(-1, *shape)


def is_image(dataset: Dataset) -> bool:
    """Whether the task's inputs are images."""
    return isinstance(dataset.shape, ImageShape)


def tokenizer_of(dataset: Dataset, name: str) -> Tokenizer:
    """What makes token ids of the training texts.

    Raises:
        MeasurementError: there are no whole texts; ``name`` is that of the stressor.
    """
    if not dataset.train.texts or dataset.tokenizer is None:
        raise MeasurementError(f"{name} contaminates texts with labels, and task {dataset.label!r} has none")
    return dataset.tokenizer


def needs_labels(dataset: Dataset, name: str) -> int:
    """The number of classes.

    Raises:
        MeasurementError: there are not two of them at least.
    """
    if dataset.shape.causal or dataset.shape.classes < 2:
        raise MeasurementError(f"{name} contaminates labels, and task {dataset.label!r} has no two of them")
    return dataset.shape.classes


def with_train(dataset: Dataset, **changes: Any) -> Dataset:
    """The dataset with other ``inputs``, ``labels`` or ``texts`` to train on."""
    return replace(dataset, train=replace(dataset.train, **changes))


def with_texts(dataset: Dataset, texts: Mapping[int, str], name: str) -> Dataset:
    """The dataset with other training texts in some rows, and the token ids that the task's tokenizer makes of them.

    Raises:
        MeasurementError: as :func:`tokenizer_of`.
    """
    tokenizer = tokenizer_of(dataset, name)
    inputs, whole = np.array(dataset.train.inputs), list(dataset.train.texts)
    if texts:
        inputs[list(texts)] = tokenizer.encode(list(texts.values()), inputs.shape[1])
    for row, text in texts.items():
        whole[row] = text
    return with_train(dataset, inputs=inputs, texts=whole)
