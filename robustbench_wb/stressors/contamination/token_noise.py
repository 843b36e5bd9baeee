"""Random noise on the tokens of training texts and sequences."""

from typing import ClassVar

import numpy as np
from pydantic import Field

from robustbench_wb.spec import Exact
from robustbench_wb.stressors.contamination.training_split import LARGE, choose_units, draw_integers, with_train
from robustbench_wb.stressors.contamination.training_words import RandomTokens, RandomWords, swap_chosen_words
from robustbench_wb.stressors.stressor import Modality
from robustbench_wb.stressors.training_contamination import ContaminatedDataset, TrainingContamination
from robustbench_wb.tasks.task import Dataset


class TokenNoise(TrainingContamination):
    """Some tokens of the training split become other tokens of the vocabulary, uniformly.

    Special tokens stay. In language modelling a wrong token is also a wrong answer. For texts with labels the units are
    words, which become other words of the task: texts and token ids must agree, and random ids belong to no text.
    """

    name: ClassVar[str] = "token-noise"
    axis: ClassVar[str | None] = "rate"
    modality: ClassVar[Modality] = "tokens"

    rate: Exact = Field(ge=0, lt=1)
    """Share of all tokens (words) of the training split."""

    def contaminate(self, dataset: Dataset, seed: int, data_dir: str | None = None) -> ContaminatedDataset:
        """Replace the tokens or words at the chosen places.

        Raises:
            MeasurementError: the task has no tokens, or fewer than two words.
        """
        if dataset.train.texts:
            others = RandomWords(dataset, self.name)
            return swap_chosen_words(dataset, self.rate, others.instead, seed=seed, name=self.name)
        tokens, inputs = RandomTokens(dataset, self.name), np.array(dataset.train.inputs)
        places = np.flatnonzero(tokens.are(inputs))
        chosen = places[choose_units(round(self.rate * len(places)), len(places), seed=seed, label=self.name)]
        flat = inputs.reshape(-1)
        flat[chosen] = tokens.instead(flat[chosen], draw_integers(chosen, 1, LARGE, seed=seed, label=self.name)[:, 0])
        return ContaminatedDataset(with_train(dataset, inputs=inputs), len(chosen), len(places))
