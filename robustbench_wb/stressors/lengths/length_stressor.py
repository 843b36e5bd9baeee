"""Base of length stressors: samples are made again, shorter or longer, with unchanged labels."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from robustbench_wb.errors import MeasurementError
from robustbench_wb.models.shape import ImageShape
from robustbench_wb.progress import Advance
from robustbench_wb.spec import Exact
from robustbench_wb.stressors.contamination.token_contamination import TokenContamination
from robustbench_wb.stressors.contamination.token_dropout import TokenDropout
from robustbench_wb.stressors.contamination.token_substitution import TokenSubstitution
from robustbench_wb.stressors.model_free import ModelFreeStressor, PerturbedData
from robustbench_wb.stressors.sample_batch import PerturbedBatch, SampleBatch
from robustbench_wb.stressors.stressor import Modality


class LengthStressor(ModelFreeStressor):
    """Base of stressors that give every sample another length.

    Nothing is trained again: positions beyond those in training keep the values that the model was built with.
    """

    axis: ClassVar[str | None] = "length"
    modality: ClassVar[Modality] = "tokens"

    length: int = Field(ge=8)
    """Largest number of tokens of a sample, special tokens included."""
    substitution: Exact | None = Field(default=None, gt=0, le=1)
    """Share of the tokens that are then replaced, as by ``token-substitution``."""
    dropout: Exact | None = Field(default=None, gt=0, le=1)
    """Share of the tokens that are then hidden, as by ``token-dropout``."""

    @property
    def label(self) -> str:
        """Name with all parameters but the length that differ from their defaults: they make other rows."""
        told = ",".join(f"{name}={value}" for name, value in self.label_parameters().items() if value is not None)
        return f"{self.name}:{told}" if told else self.name

    def label_parameters(self) -> Mapping[str, object]:
        """Parameters, besides the length, that a table must state; None: default."""
        return {"substitution": self.substitution, "dropout": self.dropout}

    @abstractmethod
    def resized_tokens(self, batch: SampleBatch) -> NDArray[np.int32]:
        """Samples of the batch as token ids, int32 (N, length), padded with 0 on the right.

        Raises:
            MeasurementError: the samples of the task cannot be made at this length.
        """

    def further_evidence(self, batch: SampleBatch) -> Mapping[str, float]:
        """Further counts for the evidence."""
        return {}

    def make(self, batch: SampleBatch, advance: Advance) -> PerturbedData:
        """Make all samples of the batch at the new length, then substitute and hide tokens.

        Raises:
            MeasurementError: the samples cannot be made at this length, or it exceeds the limit of the task's models.
        """
        if batch.shape is None or isinstance(batch.shape, ImageShape):
            raise MeasurementError(f"{self.signature}: the length of images cannot be changed")
        if self.length > batch.shape.length:
            raise MeasurementError(
                f"{self.signature}: models of this task take at most {batch.shape.length} tokens; use a smaller length"
            )
        tokens = self.resized_tokens(batch)
        none = np.zeros(len(tokens), np.int64)
        made = PerturbedData(inputs=tokens, changed=none, units=none)
        for noise in self._noises():
            longer = torch.from_numpy(made.inputs).to(batch.inputs)
            made = noise.make(replace(batch, inputs=longer), lambda count: None)
        advance(len(tokens))
        changed = none if made.inputs is None else (np.asarray(made.inputs) != tokens).sum(1)
        return replace(made, changed=changed)

    def _noises(self) -> Iterator[TokenContamination]:
        if self.substitution is not None:
            yield TokenSubstitution(rate=self.substitution)
        if self.dropout is not None:
            yield TokenDropout(rate=self.dropout)

    def finish(self, batch: SampleBatch, made: PerturbedData) -> PerturbedBatch:
        """Perturbed batch with the further counts in its evidence."""
        perturbed = super().finish(batch, made)
        return replace(perturbed, evidence={**perturbed.evidence, **self.further_evidence(batch)})
