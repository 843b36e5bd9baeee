"""Unperturbed inputs: the reference of every other cell, and the selection of samples that an attack may try."""

from typing import ClassVar

import numpy as np

from robustbench_wb.models.shape import TextShape
from robustbench_wb.stressors.stressor import PerturbedBatch, SampleBatch, Stressor
from robustbench_wb.stressors.truncation import truncation_counts


class Clean(Stressor):
    """Unperturbed inputs."""

    name: ClassVar[str] = "clean"
    modality = "any"

    def apply(self, job: SampleBatch) -> PerturbedBatch:
        """Return the inputs of the batch unchanged."""
        none = np.zeros(len(job.ids), np.int32)
        job.advance(len(job.ids))
        shown = job.inputs.shape[1] // (job.shape.documents if isinstance(job.shape, TextShape) else 1)
        return PerturbedBatch(job.inputs, none, none.copy(), evidence=truncation_counts(job, shown))
