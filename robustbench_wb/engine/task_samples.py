"""The evaluated samples of a task: which they are, and how they reach a model in batches that fit into memory."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from robustbench_wb import rng
from robustbench_wb.engine.batch import BatchSize
from robustbench_wb.errors import MeasurementError
from robustbench_wb.models.batching import to_inputs
from robustbench_wb.models.shape import ImageShape, Shape
from robustbench_wb.progress import Advance
from robustbench_wb.stressors.model_access import ModelAccess
from robustbench_wb.stressors.sample_batch import SampleBatch, TextSide
from robustbench_wb.tasks.pictures.mapped_rows import copy_rows
from robustbench_wb.tasks.pictures.picture_split import PictureSplit
from robustbench_wb.tasks.task import Dataset, Split

BATCH_BYTES = 1 << 28
"""Bytes of inputs (4 a number) that a batch of samples holds, about. Cannot change a result."""
VECTOR = 1024
"""Numbers assumed per token id: attacks hold a word vector, or many copies of a text, for each."""

SMALLEST_SIDES: Final = {"zoom-blur": 2}
"""Pixels that the shorter side of an image must have, for stressors that interpolate between pixels."""


@dataclass(frozen=True, eq=False, kw_only=True)
class TaskSamples:
    """The evaluated samples of a task."""

    ids: NDArray[np.int32]
    inputs: NDArray[Any]
    """Images, uint8 (N, C, H, W) or float32 in [0, 1], or token ids, int32 (N, L)."""
    labels: NDArray[np.int64]
    """Labels (N,), in segmentation (N, H, W)."""
    language: bool = False
    """Whether the task is language modelling: samples then have a loss, and no right or wrong."""
    text: TextSide | None = None
    """Texts and tokenizer of the samples; None for images, and for token ids without a tokenizer."""
    split: Split | None = None
    """The whole split from which these samples are chosen."""
    train: Split | None = None
    """Training split, to which some stressors are fitted; None where there is none."""
    shape: Shape | None = None
    """Input shape and number of classes that the task asks of a model."""
    token_counts: NDArray[np.int32] | None = None
    """Tokens of each sample before truncation, (N,); None where they were not counted."""

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, rows: NDArray[np.int64]) -> "TaskSamples":
        """Select the samples in some rows. A sample's result does not depend on which others are selected."""
        return replace(
            self,
            ids=self.ids[rows],
            inputs=copy_rows(self.inputs, rows),
            labels=self.labels[rows],
            text=None if self.text is None else self.text.select(rows),
            token_counts=None if self.token_counts is None else self.token_counts[rows],
        )


def choose_samples(dataset: Dataset, count: int | None, *, balanced: bool = False) -> TaskSamples:
    """Choose the first ``count`` samples of a fixed random order of the test split (None: all), sorted by id.

    The order depends on the size of the split alone, so that a larger count contains every smaller one. If
    ``balanced``, the classes take turns in it: n samples of each of k classes are the first k * n, where all have n.
    """
    total = len(dataset.test)
    ids = np.arange(total, dtype=np.int32)
    if count is not None and count < total:
        order = rng.permutation(total, 0, "evaluated-samples").numpy()
        chosen = order[by_turns(dataset.test.labels[order])] if balanced else order
        ids = np.sort(chosen[:count]).astype(np.int32)
    test, text = dataset.test, None
    if dataset.tokenizer is not None:
        text = TextSide(tokenizer=dataset.tokenizer, texts=test.texts, lexicon=dataset.lexicon)
        text = text.select(ids.astype(np.int64))
    return TaskSamples(
        ids=ids,
        inputs=inputs_at(test, ids.astype(np.int64)),
        labels=test.labels[ids],
        language=dataset.shape.causal,
        text=text,
        split=test,
        train=dataset.train,
        shape=dataset.shape,
        token_counts=None if test.token_counts is None else test.token_counts[ids],
    )


def inputs_at(split: Split, rows: NDArray[np.int64]) -> NDArray[Any]:
    """Inputs of some samples of a split; of pictures in files, only these are decoded."""
    return split.take(rows) if isinstance(split, PictureSplit) else np.asarray(split.inputs[rows])


def by_turns(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Order in which the classes of samples take turns: the first sample of each class, then the second of each.

    Samples of one class keep their order, and so do the classes within a turn. A class that has no more is left out.
    """
    grouped = np.argsort(labels, kind="stable")
    ordered, turn = labels[grouped], np.empty(len(labels), np.int64)
    turn[grouped] = np.arange(len(labels)) - np.searchsorted(ordered, ordered)
    return np.argsort(turn, kind="stable")


def refuse_small_images(samples: TaskSamples, stressor: str) -> None:
    """Refuse images that are too small for a stressor.

    Raises:
        MeasurementError: a side has fewer pixels than the stressor needs.
    """
    least = SMALLEST_SIDES.get(stressor, 1)
    if isinstance(samples.shape, ImageShape) and min(samples.shape.height, samples.shape.width) < least:
        size = f"{samples.shape.height} x {samples.shape.width}"
        raise MeasurementError(f"{stressor} needs images of at least {least} x {least} pixels, these have {size}")


@dataclass(frozen=True, eq=False, kw_only=True)
class MeasuredModel:
    """A model on its device, the surrogate of a transfer attack (if any), and a batch size that suits both."""

    model: nn.Module
    """Model in eval mode with frozen parameters."""
    batch: BatchSize
    """Batch size, which shrinks when memory runs out."""
    device: torch.device
    surrogate: nn.Module | None = None
    """The model that a transfer attack runs on; None for all other stressors."""
    deterministic: bool = False
    """Whether only deterministic algorithms of torch may run."""

    def access(self, advance: Advance = lambda count: None) -> ModelAccess:
        """Access for a stressor, at the current batch size."""
        return ModelAccess(
            model=self.model,
            batch_size=self.batch.size,
            draws=self.batch.draws,
            surrogate=self.surrogate,
            advance=advance,
        )


def sample_batches(
    model: MeasuredModel, samples: TaskSamples, rows: NDArray[np.int64], *, seed: int, rungs: int = 1, group: int = 1
) -> Iterator[tuple[NDArray[np.int64], SampleBatch]]:
    """Yield batches of some rows of the samples that fit into memory, each with the rows that it holds.

    A batch is smaller by the number of ``rungs`` that are perturbed at once: each keeps an input per sample. It holds
    whole groups of ``group`` samples, which a stressor perturbs together: which samples share one is then no matter of
    the batch size.
    """
    numbers = int(np.prod(samples.inputs.shape[1:])) * (VECTOR if samples.inputs.dtype.kind == "i" else 1)
    size = max(model.batch.size, BATCH_BYTES // (4 * rungs * numbers))
    size = max(1, size // group) * group
    for start in range(0, len(rows), size):
        chosen = rows[start : start + size]
        some = samples.select(chosen)
        batch = SampleBatch(
            inputs=to_inputs(some.inputs, model.device),
            labels=torch.from_numpy(some.labels).to(model.device).long(),
            ids=torch.from_numpy(some.ids.astype(np.int64)).to(model.device),
            seed=seed,
            text=some.text,
            token_counts=some.token_counts,
            language=some.language,
            split=some.split,
            shape=some.shape,
        )
        yield chosen, batch
