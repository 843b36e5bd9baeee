"""What stressors of length share: samples that are made again, shorter or longer, with the labels that they had."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from robustbench_wb.errors import MeasurementError
from robustbench_wb.models.shape import ImageShape
from robustbench_wb.stressors.blind import Blind, Made
from robustbench_wb.stressors.stressor import Job, Modality, Stressed


class OtherLength(Blind):
    """Base of what gives every sample at another length. Nothing is learnt anew: positions beyond those of training
    are as the model was built with them."""

    axis: ClassVar[str | None] = "length"
    modality: ClassVar[Modality] = "tokens"

    length: int = Field(ge=8)
    """Tokens of a sample at most, all special ones included."""

    @abstractmethod
    def again(self, job: Job) -> NDArray[np.int32]:
        """The samples of the job as token ids (N, length), padded with 0 on the right.

        Raises:
            MeasurementError: the task's samples cannot be made again so.
        """

    def counts(self, job: Job) -> Mapping[str, float]:
        """What is to be said of them besides."""
        return {}

    def make(self, job: Job) -> Made:
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
        job.advance(len(tokens))
        none = np.zeros(len(tokens), np.int64)
        return Made(tokens, None, none, none)

    def finish(self, job: Job, made: Made) -> Stressed:
        """With what was cut."""
        stressed = super().finish(job, made)
        return replace(stressed, evidence={**stressed.evidence, **self.counts(job)})
