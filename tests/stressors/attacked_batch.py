"""Samples together with the access to the model that attacks on them use."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from robustbench_wb.models.tokenizer import Span
from robustbench_wb.stressors.model_access import ModelAccess
from robustbench_wb.stressors.model_free import ModelFreeStressor, PerturbedData
from robustbench_wb.stressors.sample_batch import PerturbedBatch, SampleBatch, TextSide
from robustbench_wb.stressors.stressor import Stressor


@dataclass(frozen=True, eq=False, kw_only=True)
class AttackedBatch(SampleBatch):
    """Samples, and the access to the model under attack."""

    access: ModelAccess

    def in_batches_of(self, batch_size: int) -> "AttackedBatch":
        """The batch with another number of samples per forward pass."""
        return replace(self, access=replace(self.access, batch_size=batch_size))


class UnusedTokenizer:
    """Tokenizer of stressors that change characters only: it makes no token ids."""

    special: frozenset[int] = frozenset()
    vocabulary = 1
    mask: int | None = None
    unknown: int | None = None

    def encode(self, texts: Sequence[str], length: int) -> NDArray[np.int32]:
        raise AssertionError("no token ids are needed")

    def spans(self, texts: Sequence[str], length: int) -> list[list[Span]]:
        raise AssertionError("no token positions are needed")


def attacked_batch(
    model: nn.Module,
    *,
    inputs: Tensor,
    labels: Tensor,
    ids: Tensor,
    seed: int = 0,
    batch_size: int,
    surrogate: nn.Module | None = None,
    text: TextSide | None = None,
) -> AttackedBatch:
    """Samples to attack on a model."""
    access = ModelAccess(model=model, batch_size=batch_size, surrogate=surrogate)
    return AttackedBatch(inputs=inputs, labels=labels, ids=ids, seed=seed, text=text, access=access)


def perturb(stressor: Stressor, batch: AttackedBatch) -> PerturbedBatch:
    """Apply a stressor to a batch with the access of the batch."""
    return stressor.apply(batch, batch.access)


def make_data(stressor: ModelFreeStressor, batch: SampleBatch) -> PerturbedData:
    """Perturb samples without a model and without progress reports."""
    return stressor.make(batch, lambda count: None)
