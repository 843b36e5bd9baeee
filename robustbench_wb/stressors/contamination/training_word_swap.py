"""Training texts with words swapped for a word that means nothing."""

from typing import ClassVar, Literal

from pydantic import Field

from robustbench_wb.spec import Exact
from robustbench_wb.stressors.contamination.training_words import swap_chosen_words
from robustbench_wb.stressors.retrained import Contaminated, Retrained
from robustbench_wb.tasks.task import Dataset


class TrainingWordSwap(Retrained):
    """Some words of the training texts become ``AAA``, as those of the test texts do in papers on robust attention
    (Elliptical Attention, Nielsen et al. 2024, and those it compares with). Here any word may be chosen."""

    name: ClassVar[str] = "training-word-swap"
    axis: ClassVar[str | None] = "rate"
    modality: ClassVar[Literal["image", "text", "any"]] = "text"

    rate: Exact = Field(ge=0, lt=1)
    """Share of all words of the training texts."""
    word: str = Field(default="AAA", pattern=r"^[^;\s]+$")

    def contaminate(self, dataset: Dataset, seed: int, data_dir: str | None = None) -> Contaminated:
        """The word in places that are chosen."""
        return swap_chosen_words(dataset, self.rate, seed, self.name, lambda word, number: self.word)
