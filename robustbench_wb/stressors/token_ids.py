"""Token ids that a model knows: those of its tokenizer, or the common ones of tasks without a tokenizer."""

from dataclasses import dataclass

import torch
from torch import Tensor

from robustbench_wb.errors import MeasurementError
from robustbench_wb.models.shape import PAD, ImageShape
from robustbench_wb.stressors.sample_batch import SampleBatch
from robustbench_wb.tasks.task_tokenizer import MASK, SPECIAL, UNKNOWN


@dataclass(frozen=True, kw_only=True)
class TokenIds:
    """Token ids below ``vocabulary``; special ids carry no content."""

    special: frozenset[int]
    vocabulary: int
    mask: int | None
    unknown: int | None

    def ordinary(self, tokens: Tensor) -> Tensor:
        """Mask of ids that are neither special nor padding, bool of the same shape."""
        return ~torch.isin(tokens, torch.tensor(sorted(self.special | {PAD}), device=tokens.device))


def token_ids_of(batch: SampleBatch) -> TokenIds:
    """Token ids of the inputs of a batch.

    Raises:
        MeasurementError: the inputs are images.
    """
    if batch.text is not None:
        tokenizer = batch.text.tokenizer
        return TokenIds(
            special=tokenizer.special,
            vocabulary=tokenizer.vocabulary,
            mask=tokenizer.mask,
            unknown=tokenizer.unknown,
        )
    if batch.shape is None or isinstance(batch.shape, ImageShape):
        raise MeasurementError("images have no token ids")
    special = frozenset(range(len(SPECIAL)))
    return TokenIds(special=special, vocabulary=batch.shape.vocabulary, mask=MASK, unknown=UNKNOWN)
