"""Prefixes in language modelling: tokens that have nothing to do with a text, in front of it."""

from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.errors import MeasurementError
from robustbench_wb.models.shape import PAD
from robustbench_wb.progress import Advance
from robustbench_wb.spec import Exact
from robustbench_wb.stressors.model_free import ModelFreeStressor, PerturbedData
from robustbench_wb.stressors.sample_batch import SampleBatch
from robustbench_wb.stressors.stressor import Modality
from robustbench_wb.stressors.token_ids import token_ids_of

PrefixContent = Literal["foreign", "random", "none"]


class PrefixLm(ModelFreeStressor):
    """Every row begins with a prefix, and its own tokens move to the right; those beyond its length are cut.

    Only own tokens are scored, from the second on, as without a prefix. ``content=none`` is the control: rows stay as
    they are, and the same tokens are scored as with a prefix of this length. Units: tokens.
    """

    name: ClassVar[str] = "prefix-lm"
    axis: ClassVar[str | None] = "rate"
    modality: ClassVar[Modality] = "language"

    rate: Exact = Field(ge=0, lt=1)
    """Length of the prefix as a share of the length of a row."""
    content: PrefixContent = "foreign"
    """``foreign``: the beginning of another row of the test split. ``random``: tokens of the vocabulary, uniformly."""

    @property
    def label(self) -> str:
        """Name and content: contents are separate rows of a table."""
        return f"{self.name}:{self.content}"

    def make(self, batch: SampleBatch, advance: Advance) -> PerturbedData:
        """Put the prefix before every row of the batch.

        Raises:
            MeasurementError: the prefix leaves fewer than two tokens of a row, or there is no other row.
        """
        tokens, ids = batch.inputs.cpu(), batch.ids.cpu()
        width = tokens.shape[1]
        size = round(self.rate * width)
        if width - size < 2:
            raise MeasurementError(f"{self.signature} leaves {width - size} of {width} tokens; two are needed")
        rows = tokens
        if self.content != "none":
            prefix = self._foreign(batch, size) if self.content == "foreign" else self._random(batch, size)
            rows = torch.cat([prefix, tokens[:, : width - size]], 1)
        first = 0 if self.content == "none" else size
        places = torch.arange(width)
        scored = (places > first) & (places < first + width - size) & (rows != PAD)
        advance(len(ids))
        count = np.full(len(ids), 0 if self.content == "none" else size, np.int64)
        return PerturbedData(
            inputs=rows.numpy().astype(np.int32),
            changed=count,
            units=np.full(len(ids), width, np.int64),
            counted=scored.numpy(),
        )

    def _foreign(self, batch: SampleBatch, size: int) -> Tensor:
        """Beginnings of other rows, int64 (B, size)."""
        split, ids = batch.split, batch.ids.cpu()
        if split is None or len(split) < 2:
            raise MeasurementError(f"{self.name} needs a test split of at least two rows")
        draws = rng.words(ids, 1, seed=batch.seed, label=f"{self.name} partners")[:, 0]
        partners = (ids + 1 + rng.bounded_integers(len(split) - 1, draws)) % len(split)
        return torch.from_numpy(np.asarray(split.inputs[partners.numpy()][:, :size])).long()

    def _random(self, batch: SampleBatch, size: int) -> Tensor:
        """Ordinary tokens, int64 (B, size)."""
        known = token_ids_of(batch)
        every = torch.arange(known.vocabulary)
        ordinary = every[known.ordinary(every)]
        draws = rng.words(batch.ids.cpu(), max(size, 1), seed=batch.seed, label=f"{self.name} tokens")[:, :size]
        return ordinary[rng.bounded_integers(len(ordinary), draws)]
