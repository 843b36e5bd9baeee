"""What contaminations of a share of a sample's tokens have in common, texts or not."""

from abc import abstractmethod
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.models.shape import PAD
from robustbench_wb.spec import Exact
from robustbench_wb.stressors.blind import Blind, Made
from robustbench_wb.stressors.ids import Ids, ids_of
from robustbench_wb.stressors.share import lowest, roundings
from robustbench_wb.stressors.stressor import Modality, SampleBatch

_LAST = torch.iinfo(torch.int64).max


class SomeTokens(Blind):
    """Exactly a share of the tokens of each sample becomes something else. Units: tokens that are neither special nor
    padding. Ids alone are looked at, so that sequences that are no texts can be contaminated, too.

    In language modelling a token that is gone is no answer: only those that were left are scored.
    """

    axis: ClassVar[str | None] = "rate"
    modality: ClassVar[Modality] = "tokens"
    extra: ClassVar[int] = 0
    """Random words per token that :meth:`become` needs."""

    rate: Exact = Field(ge=0, le=1)
    """Share of the tokens of a sample."""

    @abstractmethod
    def become(self, tokens: Tensor, known: Ids, draws: Tensor) -> Tensor:
        """What every token would become if it were chosen.

        Args:
            tokens: ids, int64 (B, L).
            known: the subject's vocabulary.
            draws: random words, int64 (B, L, :attr:`extra`).

        Returns:
            Ids, int64 (B, L) or one for all.

        Raises:
            MeasurementError: the vocabulary has nothing for it.
        """

    def make(self, job: SampleBatch) -> Made:
        """Choose the tokens with the lowest words."""
        known = ids_of(job)
        tokens, ids = job.inputs.cpu(), job.ids.cpu()
        units = known.ordinary(tokens)
        counts, per_token = units.sum(1), 1 + self.extra
        words = rng.words(ids, 1 + per_token * tokens.shape[1], job.seed, self.name)
        draws = words[:, 1:].reshape(*tokens.shape, per_token)
        chosen = lowest(draws[..., 0].masked_fill(~units, _LAST), roundings(self.rate, counts, words[:, 0]))
        changed = torch.where(chosen, self.become(tokens, known, draws[..., 1:]), tokens)
        job.advance(len(ids))
        return Made(
            changed.numpy().astype(np.int32),
            None,
            chosen.sum(1).numpy(),
            counts.numpy(),
            (~chosen & (tokens != PAD)).numpy() if job.language else None,
        )
