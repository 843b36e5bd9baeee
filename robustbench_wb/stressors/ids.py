"""Which token ids a subject knows: those of a tokenizer, or those that every task without one has."""

from dataclasses import dataclass

import torch
from torch import Tensor

from robustbench_wb.errors import MeasurementError
from robustbench_wb.models.shape import PAD, ImageShape
from robustbench_wb.stressors.stressor import SampleBatch
from robustbench_wb.tasks.vocabulary import MASK, SPECIAL, UNKNOWN


@dataclass(frozen=True)
class Ids:
    """The ids below ``vocabulary``; the special ones are no part of what a sequence says."""

    special: frozenset[int]
    vocabulary: int
    mask: int | None
    unknown: int | None

    def ordinary(self, tokens: Tensor) -> Tensor:
        """Which of any ids say something, bool of the same shape."""
        return ~torch.isin(tokens, torch.tensor(sorted(self.special | {PAD}), device=tokens.device))


def ids_of(job: SampleBatch) -> Ids:
    """The ids of a job's inputs.

    Raises:
        MeasurementError: the inputs are images.
    """
    if job.tokenizer is not None:
        tokenizer = job.tokenizer
        return Ids(tokenizer.special, tokenizer.vocabulary, tokenizer.mask, tokenizer.unknown)
    if job.shape is None or isinstance(job.shape, ImageShape):
        raise MeasurementError("images have no token ids")
    return Ids(frozenset(range(len(SPECIAL))), job.shape.vocabulary, MASK, UNKNOWN)
