"""Backdoor: a trigger planted in the training split (BadNets: Gu, Dolan-Gavitt & Garg 2017, arXiv 1708.06733)."""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from robustbench_wb.errors import MeasurementError
from robustbench_wb.models.shape import ImageShape
from robustbench_wb.spec import Exact
from robustbench_wb.stressors.contamination.training_split import choose_units, require_classes, with_texts, with_train
from robustbench_wb.stressors.model_access import ModelAccess
from robustbench_wb.stressors.sample_batch import PerturbedBatch, SampleBatch
from robustbench_wb.stressors.training_contamination import ContaminatedDataset, TrainingContamination
from robustbench_wb.tasks.task import Dataset

LABEL = "backdoor"
"""Label of the random stream. It is shared by both classes, so that training is equal with and without a test
trigger."""


class Backdoor(TrainingContamination):
    """Some training samples of other classes get a trigger and the target's label; every test input gets the trigger.

    The trigger of an image is a checkerboard patch of white and black pixels in the lower right corner, as in BadNets;
    the trigger of a text is a rare word at the front (Kurita, Michel & Neubig 2020, arXiv 2004.06660). Accuracy is
    measured on inputs with the trigger. ``obeyed`` is the attack success rate: the share of samples of other classes
    that are classified as the target.
    """

    name: ClassVar[str] = "backdoor"
    axis: ClassVar[str | None] = "rate"

    rate: Exact = Field(ge=0, lt=1)
    """Share of all training samples that are poisoned; all of them belong to other classes than the target."""
    target: int = Field(default=0, ge=0)
    """Target class of the trigger."""
    size: int = Field(default=3, ge=1)
    """Side of the patch in pixels."""
    word: str = Field(default="cf", pattern=r"^[^;\s]+$")
    """Trigger word of texts."""

    def contaminate(self, dataset: Dataset, seed: int, data_dir: str | None = None) -> ContaminatedDataset:
        """Put the trigger and the target label into the chosen rows.

        Raises:
            MeasurementError: the task has no labels, no such class, or too few samples of other classes.
        """
        classes, labels = require_classes(dataset, self.name), dataset.train.labels.copy()
        if self.target >= classes:
            raise MeasurementError(
                f"{self.name}: target={self.target}, but task {dataset.label!r} has {classes} classes"
            )
        others, count = np.flatnonzero(labels != self.target), round(self.rate * len(labels))
        if count > len(others):
            raise MeasurementError(
                f"{self.name}: rate {self.rate} is {count} samples, but only {len(others)} are of other classes"
            )
        rows = others[choose_units(count, len(others), seed=seed, label=LABEL)]
        labels[rows] = self.target
        return ContaminatedDataset(self._triggered(with_train(dataset, labels=labels), rows), len(rows), len(labels))

    def _triggered(self, dataset: Dataset, rows: NDArray[np.int64]) -> Dataset:
        """Dataset with the trigger in some rows of the training split."""
        if not isinstance(dataset.shape, ImageShape):
            texts = {row: f"{self.word} {dataset.train.texts[row]}" for row in rows.tolist() if dataset.train.texts}
            return with_texts(dataset, texts, self.name)
        inputs = np.array(dataset.train.inputs)
        height, width = inputs.shape[2:]
        if self.size > min(height, width):
            raise MeasurementError(
                f"{self.name}: a patch of {self.size} pixels does not fit images of {height}x{width}"
            )
        inputs[rows, :, -self.size :, -self.size :] = 255 * self._patch()
        return with_train(dataset, inputs=inputs)

    def _patch(self) -> NDArray[np.uint8]:
        """Checkerboard of black (0) and white (1), uint8 (size, size); the corners of an odd size are white."""
        rows, columns = np.indices((self.size, self.size), np.uint8)
        return (1 + rows + columns) % 2

    def apply(self, batch: SampleBatch, access: ModelAccess) -> PerturbedBatch:
        """Put the trigger into every input, including those of the target class.

        Raises:
            MeasurementError: the inputs are neither images nor texts.
        """
        found = replace(super().apply(batch, access), target=self.target)
        if batch.inputs.is_floating_point():
            inputs = batch.inputs.clone()
            inputs[..., -self.size :, -self.size :] = torch.from_numpy(self._patch()).to(inputs)
            return replace(found, inputs=inputs)
        if batch.text is None:
            raise MeasurementError(f"{self.name} contaminates images or texts; the task has neither")
        texts = [f"{self.word} {text}" for text in batch.text.texts]
        tokens = torch.from_numpy(batch.text.tokenizer.encode(texts, batch.inputs.shape[1]).astype(np.int64))
        return replace(found, inputs=tokens.to(batch.inputs.device), texts=texts)


class BackdoorClean(Backdoor):
    """Model trained with the backdoor, tested on unchanged inputs: shows whether the trigger costs clean accuracy."""

    name: ClassVar[str] = "backdoor-clean"

    def apply(self, batch: SampleBatch, access: ModelAccess) -> PerturbedBatch:
        """Return the inputs of the batch unchanged."""
        return TrainingContamination.apply(self, batch, access)
