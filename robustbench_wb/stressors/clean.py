"""Unperturbed inputs: the reference of every other cell, and the selection of samples that an attack may try."""

from typing import ClassVar

import numpy as np

from robustbench_wb.models.shape import TextShape
from robustbench_wb.stressors.model_access import ModelAccess
from robustbench_wb.stressors.sample_batch import PerturbedBatch, SampleBatch
from robustbench_wb.stressors.stressor import Stressor
from robustbench_wb.stressors.truncation import truncation_counts


class Clean(Stressor):
    """Unperturbed inputs."""

    name: ClassVar[str] = "clean"
    modality = "any"

    def apply(self, batch: SampleBatch, access: ModelAccess) -> PerturbedBatch:
        """Return the inputs of the batch unchanged."""
        none = np.zeros(len(batch.ids), np.int32)
        access.advance(len(batch.ids))
        shown = batch.inputs.shape[1] // (batch.shape.documents if isinstance(batch.shape, TextShape) else 1)
        return PerturbedBatch(
            inputs=batch.inputs, forwards=none, backwards=none.copy(), evidence=truncation_counts(batch, shown)
        )
