"""Stressors of the training data: they test what becomes of a subject that is trained on a contaminated split."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from robustbench_wb.stressors.clean import Clean
from robustbench_wb.stressors.stressor import Modality, PerturbedBatch, SampleBatch, Stressor
from robustbench_wb.tasks.task import Dataset


@dataclass(frozen=True, eq=False)
class Contaminated:
    """A task whose training split is no longer clean. Its test split is."""

    dataset: Dataset
    changed: int
    """Training samples (or words, tokens: whatever the rate is a share of) that were contaminated."""
    units: int
    """How many there are."""


class Retrained(Stressor):
    """Base of contaminations of the training split, with a rate as strength.

    Each rate is a subject of its own, trained like the one beside it: the weights, and so the identity of the cell, are
    its own. It is tested on the clean test split, or on what ``apply`` makes of that.
    """

    modality: ClassVar[Modality] = "any"

    @abstractmethod
    def contaminate(self, dataset: Dataset, seed: int, data_dir: str | None = None) -> Contaminated:
        """A function of the dataset and the seed; the given arrays stay as they are.

        ``data_dir`` is the mirror that a contamination finds other people's data in, as :meth:`Task.load` does.

        Raises:
            MeasurementError: this task cannot be contaminated so.
        """

    def apply(self, job: SampleBatch) -> PerturbedBatch:
        """The inputs as they are."""
        return Clean().apply(job)
