"""Training texts with words swapped for a word that means nothing."""

from typing import ClassVar

from pydantic import Field

from robustbench_wb.spec import Exact
from robustbench_wb.stressors.contamination.stop_words import STOP_WORDS
from robustbench_wb.stressors.contamination.training_words import swap_chosen_words
from robustbench_wb.stressors.contamination.words import SWAPPED
from robustbench_wb.stressors.retrained import Contaminated, Retrained
from robustbench_wb.stressors.stressor import Modality
from robustbench_wb.tasks.task import Dataset


class TrainingWordSwap(Retrained):
    """Some words of the training texts become ``AAA``, as those of the test texts do under ``word-swap``: the rate is a
    share of all words, and stop words are never chosen."""

    name: ClassVar[str] = "training-word-swap"
    axis: ClassVar[str | None] = "rate"
    modality: ClassVar[Modality] = "text"

    rate: Exact = Field(ge=0, lt=1)
    """Share of all words of the training texts; where fewer are no stop words, all of those are swapped."""

    def contaminate(self, dataset: Dataset, seed: int, data_dir: str | None = None) -> Contaminated:
        """The word in places that are chosen."""
        return swap_chosen_words(dataset, self.rate, seed, self.name, lambda word, number: SWAPPED, STOP_WORDS)
