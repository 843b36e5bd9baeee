"""Training samples of pure noise."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from robustbench_wb.errors import MeasurementError
from robustbench_wb.spec import Exact
from robustbench_wb.stressors.contamination.training_split import (
    LARGE,
    choose_units,
    draw_image_integers,
    draw_integers,
    is_image,
    with_texts,
    with_train,
)
from robustbench_wb.stressors.contamination.training_words import RandomTokens, RandomWords, swap_words
from robustbench_wb.stressors.training_contamination import ContaminatedDataset, TrainingContamination
from robustbench_wb.tasks.lexicon import find_words
from robustbench_wb.tasks.task import Dataset


class TrainingOutliers(TrainingContamination):
    """Some training samples lose their content and keep their label.

    An image becomes uniform noise (Zhang et al. 2017, arXiv 1611.03530, "random pixels"). In a text every word becomes
    a random word of the task; in a sequence without texts every token becomes a random token.
    """

    name: ClassVar[str] = "training-outliers"
    axis: ClassVar[str | None] = "rate"

    rate: Exact = Field(ge=0, lt=1)
    """Share of the training samples."""

    def contaminate(self, dataset: Dataset, seed: int, data_dir: str | None = None) -> ContaminatedDataset:
        """Replace the inputs of the chosen rows.

        Raises:
            MeasurementError: the task is language modelling, which has no labels to keep.
        """
        if dataset.shape.causal:
            raise MeasurementError(f"{self.name} keeps labels, but task {dataset.label!r} has none; use token-noise")
        count = len(dataset.train)
        rows = choose_units(round(self.rate * count), count, seed=seed, label=self.name)
        empty = self._noise if is_image(dataset) else self._words if dataset.train.texts else self._tokens
        return ContaminatedDataset(empty(dataset, rows, seed), len(rows), count)

    def _noise(self, dataset: Dataset, rows: NDArray[np.int64], seed: int) -> Dataset:
        inputs = np.array(dataset.train.inputs)
        for part, levels in draw_image_integers(rows, inputs.shape[1:], 256, seed=seed, label=self.name):
            inputs[part] = levels
        return with_train(dataset, inputs=inputs)

    def _tokens(self, dataset: Dataset, rows: NDArray[np.int64], seed: int) -> Dataset:
        inputs, others = np.array(dataset.train.inputs), RandomTokens(dataset, self.name)
        numbers = draw_integers(rows, inputs.shape[1], len(others.ids), seed=seed, label=self.name)
        inputs[rows] = np.where(others.are(inputs[rows]), others.ids[numbers], inputs[rows])
        return with_train(dataset, inputs=inputs)

    def _words(self, dataset: Dataset, rows: NDArray[np.int64], seed: int) -> Dataset:
        others, texts = RandomWords(dataset, self.name), {}
        for row in rows.tolist():
            text = dataset.train.texts[row]
            numbers = draw_integers(np.array([row]), len(find_words(text)), LARGE, seed=seed, label=self.name)[
                0
            ].tolist()
            texts[row] = swap_words(text, dict(enumerate(numbers)), others.any)
        return with_texts(dataset, texts, self.name)
