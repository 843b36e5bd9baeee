"""What stressors of length share: samples that are made again, shorter or longer, with the labels that they had."""

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
from robustbench_wb.spec import Exact
from robustbench_wb.stressors.blind import Blind, Made
from robustbench_wb.stressors.contamination.token_dropout import TokenDropout
from robustbench_wb.stressors.contamination.token_substitution import TokenSubstitution
from robustbench_wb.stressors.contamination.tokens import SomeTokens
from robustbench_wb.stressors.stressor import Modality, PerturbedBatch, SampleBatch


class OtherLength(Blind):
    """Base of what gives every sample at another length. Nothing is learnt anew: positions beyond those of training
    are as the model was built with them."""

    axis: ClassVar[str | None] = "length"
    modality: ClassVar[Modality] = "tokens"

    length: int = Field(ge=8)
    """Tokens of a sample at most, all special ones included."""
    substitution: Exact | None = Field(default=None, gt=0, le=1)
    """Share of the tokens that are then other ones, as ``token-substitution`` makes them."""
    dropout: Exact | None = Field(default=None, gt=0, le=1)
    """Share of the tokens that are then hidden, as ``token-dropout`` hides them."""

    @property
    def label(self) -> str:
        """With all numbers but the length that are not the usual ones: rows that are made otherwise are other rows."""
        told = ",".join(f"{name}={value}" for name, value in self.told().items() if value is not None)
        return f"{self.name}:{told}" if told else self.name

    def told(self) -> Mapping[str, object]:
        """The numbers that a table has to tell besides the length; None: none."""
        return {"substitution": self.substitution, "dropout": self.dropout}

    @abstractmethod
    def again(self, job: SampleBatch) -> NDArray[np.int32]:
        """The samples of the job as token ids (N, length), padded with 0 on the right.

        Raises:
            MeasurementError: the task's samples cannot be made again so.
        """

    def counts(self, job: SampleBatch) -> Mapping[str, float]:
        """What is to be said of them besides."""
        return {}

    def make(self, job: SampleBatch) -> Made:
        """All samples.

        Raises:
            MeasurementError: as :meth:`again`, or no subject of the task takes so many tokens.
        """
        if job.shape is None or isinstance(job.shape, ImageShape):
            raise MeasurementError(f"{self.signature}: the length of images cannot be changed")
        if self.length > job.shape.length:
            raise MeasurementError(
                f"{self.signature}: subjects of this task take at most {job.shape.length} tokens; ask for less"
            )
        tokens = self.again(job)
        none = np.zeros(len(tokens), np.int64)
        made = Made(tokens, None, none, none)
        for noise in self._noises():
            longer = torch.from_numpy(made.inputs).to(job.inputs)
            made = noise.make(replace(job, inputs=longer, advance=lambda count: None))
        job.advance(len(tokens))
        changed = none if made.inputs is None else (np.asarray(made.inputs) != tokens).sum(1)
        return replace(made, changed=changed)

    def _noises(self) -> Iterator[SomeTokens]:
        if self.substitution is not None:
            yield TokenSubstitution(rate=self.substitution)
        if self.dropout is not None:
            yield TokenDropout(rate=self.dropout)

    def finish(self, job: SampleBatch, made: Made) -> PerturbedBatch:
        """With what was cut."""
        stressed = super().finish(job, made)
        return replace(stressed, evidence={**stressed.evidence, **self.counts(job)})
