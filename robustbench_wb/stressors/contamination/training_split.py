"""Building blocks of training-split contaminations: choice of units, random draws, and edits of the split."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from robustbench_wb import rng
from robustbench_wb.errors import MeasurementError
from robustbench_wb.models.shape import ImageShape
from robustbench_wb.models.tokenizer import Tokenizer
from robustbench_wb.stressors.unit_choice import MASK_63_BITS
from robustbench_wb.tasks.task import Dataset

LARGE = 1 << 62
"""Limit for ``draw`` where the real limit is not known yet: the remainder is taken later."""
_CHUNK = 1 << 22  # values drawn at once; cannot change a result


def choose_units(count: int, units: int, *, seed: int, label: str) -> NDArray[np.int64]:
    """Choose ``count`` of the numbers below ``units``, ascending, int64 (count,).

    The random order does not depend on the rate: every number that a rate chooses is chosen by every higher rate.
    """
    return np.sort(rng.permutation(units, seed, f"{label}/chosen")[:count].numpy())


def draw_integers(rows: NDArray[np.int64], count: int, limit: int, *, seed: int, label: str) -> NDArray[np.int64]:
    """Uniform integers from 0 to ``limit`` - 1, int64 (len(rows), count).

    The numbers of a row depend on its row number only, not on the other rows.
    """
    words = rng.words(torch.from_numpy(rows), count, seed=seed, label=label)
    found: NDArray[np.int64] = ((words & MASK_63_BITS) % limit).numpy()
    return found


def draw_image_integers(
    rows: NDArray[np.int64], shape: tuple[int, ...], limit: int, *, seed: int, label: str
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Uniform integers from 0 to ``limit`` - 1 for every value of images of ``shape``.

    Yields chunks of rows with their numbers, int64 (rows, *shape).
    """
    count = math.prod(shape)
    for part in np.split(rows, range(max(1, _CHUNK // count), len(rows), max(1, _CHUNK // count))):
        yield part, draw_integers(part, count, limit, seed=seed, label=label).reshape(-1, *shape)


def is_image(dataset: Dataset) -> bool:
    """Whether the inputs of the task are images."""
    return isinstance(dataset.shape, ImageShape)


def require_tokenizer(dataset: Dataset, name: str) -> Tokenizer:
    """Tokenizer of the training texts.

    Raises:
        MeasurementError: there are no whole texts; ``name`` is the stressor that the message blames.
    """
    if not dataset.train.texts or dataset.tokenizer is None:
        raise MeasurementError(f"{name} contaminates texts with labels, but task {dataset.label!r} has none")
    return dataset.tokenizer


def require_classes(dataset: Dataset, name: str) -> int:
    """Number of classes.

    Raises:
        MeasurementError: there are fewer than two; ``name`` is the stressor that the message blames.
    """
    if dataset.shape.causal or dataset.shape.classes < 2:
        raise MeasurementError(f"{name} contaminates labels, but task {dataset.label!r} has fewer than two")
    return dataset.shape.classes


def with_train(
    dataset: Dataset,
    *,
    inputs: NDArray[np.uint8] | NDArray[np.int32] | None = None,
    labels: NDArray[np.int64] | None = None,
    texts: Sequence[str] | None = None,
) -> Dataset:
    """Dataset with other ``inputs``, ``labels`` or ``texts`` in the training split; None keeps the present ones."""
    train = dataset.train
    changed = replace(
        train,
        inputs=train.inputs if inputs is None else inputs,
        labels=train.labels if labels is None else labels,
        texts=train.texts if texts is None else texts,
    )
    return replace(dataset, train=changed)


def with_texts(dataset: Dataset, texts: Mapping[int, str], name: str) -> Dataset:
    """Dataset with other training texts in some rows, and their token ids.

    Raises:
        MeasurementError: there are no whole texts; ``name`` is the stressor that the message blames.
    """
    tokenizer = require_tokenizer(dataset, name)
    inputs, whole = np.array(dataset.train.inputs), list(dataset.train.texts)
    if texts:
        inputs[list(texts)] = tokenizer.encode(list(texts.values()), inputs.shape[1])
    for row, text in texts.items():
        whole[row] = text
    return with_train(dataset, inputs=inputs, texts=whole)
