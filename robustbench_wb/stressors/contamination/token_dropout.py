"""Tokens hidden from a model of sequences: texts, pixels in a row, language modelling."""

from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from robustbench_wb import rng
from robustbench_wb.errors import MeasurementError
from robustbench_wb.models.shape import PAD
from robustbench_wb.spec import Exact
from robustbench_wb.stressors.blind import Blind, Made
from robustbench_wb.stressors.ids import ids_of
from robustbench_wb.stressors.share import lowest, roundings
from robustbench_wb.stressors.stressor import Job, Modality

_LAST = torch.iinfo(torch.int64).max


class TokenDropout(Blind):
    """Every chosen token becomes [MASK] or [UNK]. Units: tokens that are neither special nor padding.

    A model that never saw such a token in training has a random vector for it. In language modelling a dropped token is
    no answer: what is scored are the tokens that were left.
    """

    name: ClassVar[str] = "token-dropout"
    axis: ClassVar[str | None] = "rate"
    modality: ClassVar[Modality] = "tokens"

    rate: Exact = Field(ge=0, le=1)
    """Share of the tokens of a sample."""
    token: Literal["mask", "unknown"] = "mask"
    """What a dropped token becomes."""

    def make(self, job: Job) -> Made:
        """Ids alone are looked at, so that sequences that are no texts can be contaminated, too.

        Raises:
            MeasurementError: the subject's tokenizer has no such token.
        """
        known = ids_of(job)
        hidden = known.mask if self.token == "mask" else known.unknown
        if hidden is None:
            raise MeasurementError(f"{self.signature}: the subject's tokenizer has no {self.token} token")
        tokens, ids = job.inputs.cpu(), job.ids.cpu()
        units = known.ordinary(tokens)
        counts = units.sum(1)
        draws = rng.words(ids, 1 + tokens.shape[1], job.seed, self.name)
        keys = draws[:, 1:].masked_fill(~units, _LAST)
        dropped = lowest(keys, roundings(self.rate, counts, draws[:, 0]))
        job.advance(len(ids))
        return Made(
            tokens.masked_fill(dropped, hidden).numpy().astype(np.int32),
            None,
            dropped.sum(1).numpy(),
            counts.numpy(),
            (~dropped & (tokens != PAD)).numpy() if job.language else None,
        )
