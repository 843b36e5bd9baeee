"""Stressors of the training data: the evaluated model is trained on a contaminated training split."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from robustbench_wb.stressors.clean import Clean
from robustbench_wb.stressors.model_access import ModelAccess
from robustbench_wb.stressors.sample_batch import PerturbedBatch, SampleBatch
from robustbench_wb.stressors.stressor import Modality, Stressor
from robustbench_wb.tasks.task import Dataset


@dataclass(frozen=True, eq=False)
class ContaminatedDataset:
    """A task whose training split is contaminated. Its test split is unchanged."""

    dataset: Dataset
    changed: int
    """Number of contaminated training samples, words or tokens: the units that the rate counts."""
    units: int
    """Number of units in the training split."""


class TrainingContamination(Stressor):
    """Base of contaminations of the training split; the strength is a rate.

    Each rate has its own model, trained in the same way as the model on clean data. The weights, and therefore the
    identity of the cell, differ between rates. The model is tested on the clean test split, or on what ``apply`` makes
    of it.
    """

    modality: ClassVar[Modality] = "any"
    retrains: ClassVar[bool] = True

    @abstractmethod
    def contaminate(self, dataset: Dataset, seed: int, data_dir: str | None = None) -> ContaminatedDataset:
        """Contaminate the training split, as a function of the dataset and the seed; given arrays are not modified.

        ``data_dir`` is the local mirror where a contamination finds further datasets, as in ``Task.load``.

        Raises:
            MeasurementError: the task cannot be contaminated in this way.
        """

    def apply(self, batch: SampleBatch, access: ModelAccess) -> PerturbedBatch:
        """Return the inputs of the batch unchanged."""
        return Clean().apply(batch, access)
