"""Token ids that a model knows: those of its tokenizer, or the common ones of tasks without a tokenizer."""

from dataclasses import dataclass

import torch
from torch import Tensor

from robustbench_wb.errors import MeasurementError
from robustbench_wb.models.shape import PAD, ImageShape
from robustbench_wb.stressors.stressor import SampleBatch
from robustbench_wb.tasks.vocabulary import MASK, SPECIAL, UNKNOWN


@dataclass(frozen=True, kw_only=True)
class Ids:
    """Token ids below ``vocabulary``; special ids carry no content."""

    special: frozenset[int]
    vocabulary: int
    mask: int | None
    unknown: int | None

    def ordinary(self, tokens: Tensor) -> Tensor:
        """Mask of ids that are neither special nor padding, bool of the same shape."""
        return ~torch.isin(tokens, torch.tensor(sorted(self.special | {PAD}), device=tokens.device))


def ids_of(job: SampleBatch) -> Ids:
    """Token ids of the inputs of a batch.

    Raises:
        MeasurementError: the inputs are images.
    """
    if job.tokenizer is not None:
        tokenizer = job.tokenizer
        return Ids(
            special=tokenizer.special,
            vocabulary=tokenizer.vocabulary,
            mask=tokenizer.mask,
            unknown=tokenizer.unknown,
        )
    if job.shape is None or isinstance(job.shape, ImageShape):
        raise MeasurementError("images have no token ids")
    special = frozenset(range(len(SPECIAL)))
    return Ids(special=special, vocabulary=job.shape.vocabulary, mask=MASK, unknown=UNKNOWN)
