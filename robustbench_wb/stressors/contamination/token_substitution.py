"""Tokens of a sequence that are other ones: noise on bytes, symbols, pixels."""

from typing import ClassVar

import numpy as np
import torch
from pydantic import Field

from robustbench_wb import rng
from robustbench_wb.models.shape import PAD
from robustbench_wb.spec import Exact
from robustbench_wb.stressors.blind import Blind, Made
from robustbench_wb.stressors.ids import ids_of
from robustbench_wb.stressors.share import lowest, roundings
from robustbench_wb.stressors.stressor import Job, Modality

_LAST = torch.iinfo(torch.int64).max


class TokenSubstitution(Blind):
    """Every chosen token becomes another ordinary one of the vocabulary, each alike likely.

    Units: tokens that are neither special nor padding. Of bytes, this is noise on bytes: the text that they stand for
    is none any more.
    """

    name: ClassVar[str] = "token-substitution"
    axis: ClassVar[str | None] = "rate"
    modality: ClassVar[Modality] = "tokens"

    rate: Exact = Field(ge=0, le=1)
    """Share of the tokens of a sample."""

    def make(self, job: Job) -> Made:
        """What a token becomes is drawn with its place. In language modelling a wrong token is no answer: only tokens
        that were left are scored."""
        known = ids_of(job)
        tokens, ids = job.inputs.cpu(), job.ids.cpu()
        units = known.ordinary(tokens)
        every = torch.arange(known.vocabulary)
        ordinary = every[known.ordinary(every)]
        draws = rng.words(ids, 1 + 2 * tokens.shape[1], job.seed, self.name)
        chosen = lowest(draws[:, 1::2].masked_fill(~units, _LAST), roundings(self.rate, units.sum(1), draws[:, 0]))
        steps = 1 + rng.below(len(ordinary) - 1, draws[:, 2::2])
        others = ordinary[(torch.searchsorted(ordinary, tokens) + steps) % len(ordinary)]
        job.advance(len(ids))
        changed = torch.where(chosen, others, tokens).numpy().astype(np.int32)
        counted = (~chosen & (tokens != PAD)).numpy() if job.language else None
        return Made(changed, None, chosen.sum(1).numpy(), units.sum(1).numpy(), counted)
