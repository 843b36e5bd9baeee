"""The evaluated samples of a task: which they are, and how they reach a model in batches that fit into memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from robustbench_wb import rng
from robustbench_wb.engine.batch import BatchSize
from robustbench_wb.models.batching import to_inputs
from robustbench_wb.models.shape import Shape
from robustbench_wb.models.tokenizer import Tokenizer
from robustbench_wb.progress import Advance
from robustbench_wb.stressors.stressor import SampleBatch
from robustbench_wb.tasks.lexicon import Lexicon
from robustbench_wb.tasks.task import Dataset, Split

BATCH_BYTES = 1 << 28
"""Bytes of inputs (4 a number) that a batch of samples holds, about. Cannot change a result."""
VECTOR = 1024
"""Numbers assumed per token id: attacks hold a word vector, or many copies of a text, for each."""


@dataclass(frozen=True, eq=False, kw_only=True)
class TaskSamples:
    """The evaluated samples of a task."""

    ids: NDArray[np.int32]
    inputs: NDArray[Any]
    """Images, uint8 (N, C, H, W) or float32 in [0, 1], or token ids, int32 (N, L)."""
    labels: NDArray[np.int64]
    language: bool = False
    """Whether the task is language modelling: samples then have a loss, and no right or wrong."""
    texts: Sequence[str] = ()
    """The texts that the token ids stand for; empty for images and in language modelling."""
    tokenizer: Tokenizer | None = None
    """Tokenizer that made the token ids; None for images."""
    lexicon: Lexicon = field(default_factory=lambda: Lexicon(()))
    """The words of the task's training texts."""
    split: Split | None = None
    """The whole split from which these samples are chosen."""
    shape: Shape | None = None
    """Input shape and number of classes that the task asks of a model."""
    sizes: NDArray[np.int32] | None = None
    """Tokens of each text before it was cut to the length of the inputs; None where texts were not counted."""

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, rows: NDArray[np.int64]) -> "TaskSamples":
        """Select the samples in some rows. A sample's result does not depend on which others are selected."""
        texts = [self.texts[row] for row in rows] if self.texts else ()
        sizes = None if self.sizes is None else self.sizes[rows]
        some = replace(self, ids=self.ids[rows], inputs=self.inputs[rows], labels=self.labels[rows])
        return replace(some, texts=texts, sizes=sizes)


def choose_samples(dataset: Dataset, count: int | None) -> TaskSamples:
    """Choose the first ``count`` samples of a fixed random order of the test split (None: all), sorted by id.

    The order depends on the size of the split alone, so that a larger count contains every smaller one.
    """
    total = len(dataset.test)
    ids = np.arange(total, dtype=np.int32)
    if count is not None and count < total:
        chosen = rng.permutation(total, 0, "evaluated-samples")[:count]
        ids = torch.sort(chosen).values.numpy().astype(np.int32)
    test = dataset.test
    return TaskSamples(
        ids=ids,
        inputs=np.asarray(test.inputs[ids]),
        labels=test.labels[ids],
        language=dataset.shape.causal,
        texts=[test.texts[row] for row in ids.tolist()] if test.texts else (),
        tokenizer=dataset.tokenizer,
        lexicon=dataset.lexicon,
        split=test,
        shape=dataset.shape,
        sizes=None if test.sizes is None else test.sizes[ids],
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class ModelAccess:
    """A model on its device, the model whose adversarial examples it is given (if any), and the batch for both."""

    model: nn.Module
    """Eval mode, parameters frozen."""
    batch: BatchSize
    device: torch.device
    surrogate: nn.Module | None = None
    """The model that a transfer attack runs on; None for all other stressors."""


def sample_batches(
    access: ModelAccess,
    samples: TaskSamples,
    rows: NDArray[np.int64],
    *,
    seed: int,
    advance: Advance = lambda count: None,
    rungs: int = 1,
) -> Iterator[tuple[NDArray[np.int64], SampleBatch]]:
    """Yield batches of some rows of the samples that fit into memory, each with the rows that it holds.

    A batch is smaller by the number of ``rungs`` that are perturbed at once: each keeps an input per sample.
    """
    numbers = int(np.prod(samples.inputs.shape[1:])) * (VECTOR if samples.inputs.dtype.kind == "i" else 1)
    size = max(access.batch.size, BATCH_BYTES // (4 * rungs * numbers))
    for start in range(0, len(rows), size):
        some = rows[start : start + size]
        yield (
            some,
            SampleBatch(
                model=access.model,
                inputs=to_inputs(samples.inputs[some], access.device),
                labels=torch.from_numpy(samples.labels[some]).to(access.device),
                ids=torch.from_numpy(samples.ids[some].astype(np.int64)).to(access.device),
                seed=seed,
                batch=access.batch.size,
                advance=advance,
                texts=[samples.texts[row] for row in some] if samples.texts else (),
                tokenizer=samples.tokenizer,
                lexicon=samples.lexicon,
                draws=access.batch.draws,
                surrogate=access.surrogate,
                language=samples.language,
                split=samples.split,
                shape=samples.shape,
                sizes=None if samples.sizes is None else samples.sizes[some],
            ),
        )
