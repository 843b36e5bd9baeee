"""Base of contaminations of a share of a sample's tokens, with or without texts."""

from abc import abstractmethod
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.models.shape import PAD
from robustbench_wb.progress import Advance
from robustbench_wb.spec import Exact
from robustbench_wb.stressors.model_free import ModelFreeStressor, PerturbedData
from robustbench_wb.stressors.sample_batch import SampleBatch
from robustbench_wb.stressors.stressor import Modality
from robustbench_wb.stressors.token_ids import TokenIds, token_ids_of
from robustbench_wb.stressors.unit_choice import lowest_keys, stochastic_round_many

_LAST = torch.iinfo(torch.int64).max


class TokenContamination(ModelFreeStressor):
    """Base of contaminations that replace exactly a share of the tokens of each sample.

    Units: tokens that are neither special nor padding. Only token ids are used, so sequences without texts can be
    contaminated as well. In language modelling a replaced token is no valid answer: only the other tokens are scored.
    """

    axis: ClassVar[str | None] = "rate"
    modality: ClassVar[Modality] = "tokens"
    extra: ClassVar[int] = 0
    """Random words per token that ``replacements`` needs."""

    rate: Exact = Field(ge=0, le=1)
    """Share of the tokens of a sample."""

    @abstractmethod
    def replacements(self, tokens: Tensor, known: TokenIds, draws: Tensor) -> Tensor:
        """Replacement of every token, if it were chosen.

        Args:
            tokens: ids, int64 (B, L).
            known: token ids of the model.
            draws: random words, int64 (B, L, ``extra``).

        Returns:
            Ids, int64 (B, L), or one id for all.

        Raises:
            MeasurementError: the vocabulary has no suitable token.
        """

    def make(self, batch: SampleBatch, advance: Advance) -> PerturbedData:
        """Replace the tokens with the lowest random keys."""
        known = token_ids_of(batch)
        tokens, ids = batch.inputs.cpu(), batch.ids.cpu()
        units = known.ordinary(tokens)
        counts, per_token = units.sum(1), 1 + self.extra
        words = rng.words(ids, 1 + per_token * tokens.shape[1], seed=batch.seed, label=self.name)
        draws = words[:, 1:].reshape(*tokens.shape, per_token)
        chosen = lowest_keys(
            draws[..., 0].masked_fill(~units, _LAST), stochastic_round_many(self.rate, counts, words[:, 0])
        )
        changed = torch.where(chosen, self.replacements(tokens, known, draws[..., 1:]), tokens)
        advance(len(ids))
        return PerturbedData(
            inputs=changed.numpy().astype(np.int32),
            changed=chosen.sum(1).numpy(),
            units=counts.numpy(),
            counted=(~chosen & (tokens != PAD)).numpy() if batch.language else None,
        )
