"""Training texts in which words are replaced by a meaningless word."""

from typing import ClassVar

from pydantic import Field

from robustbench_wb.spec import Exact
from robustbench_wb.stressors.contamination.stop_words import STOP_WORDS
from robustbench_wb.stressors.contamination.swapped_words import SWAPPED
from robustbench_wb.stressors.contamination.training_words import swap_chosen_words
from robustbench_wb.stressors.stressor import Modality
from robustbench_wb.stressors.training_contamination import ContaminatedDataset, TrainingContamination
from robustbench_wb.tasks.task import Dataset


class TrainingWordSwap(TrainingContamination):
    """Some words of the training texts become ``AAA``, like test words under ``word-swap``.

    The rate is a share of all words, and stop words are never chosen.
    """

    name: ClassVar[str] = "training-word-swap"
    axis: ClassVar[str | None] = "rate"
    modality: ClassVar[Modality] = "text"

    rate: Exact = Field(ge=0, lt=1)
    """Share of all words of the training texts. If fewer words are no stop words, all of these are swapped."""

    def contaminate(self, dataset: Dataset, seed: int, data_dir: str | None = None) -> ContaminatedDataset:
        """Swap the words at the chosen places.

        Raises:
            MeasurementError: the task has no texts with labels.
        """
        return swap_chosen_words(
            dataset, self.rate, lambda word, number: SWAPPED, seed=seed, name=self.name, spared=STOP_WORDS
        )
