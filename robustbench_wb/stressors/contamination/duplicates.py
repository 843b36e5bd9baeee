"""Duplicated training samples."""

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

LABEL = "duplicates"
"""Label of the random stream. It is shared by both classes, so that near-duplicates affect the same samples."""


class Duplicates(TrainingContamination):
    """Some training samples are overwritten by copies of others, labels included: the split keeps its size.

    Only samples that are not overwritten are copied, so a share 1 - rate of the samples is all there is to learn from.
    """

    name: ClassVar[str] = "duplicates"
    axis: ClassVar[str | None] = "rate"

    rate: Exact = Field(ge=0, lt=1)
    """Share of the training samples that are overwritten."""

    def contaminate(self, dataset: Dataset, seed: int, data_dir: str | None = None) -> ContaminatedDataset:
        """Overwrite the chosen rows by copies of other rows.

        Raises:
            MeasurementError: no sample is left to copy.
        """
        train = dataset.train
        rows, sources = self._copies(len(train), seed)
        inputs, labels, texts = np.array(train.inputs), train.labels.copy(), list(train.texts)
        inputs[rows], labels[rows] = train.inputs[sources], train.labels[sources]
        if texts:
            for row, source in zip(rows.tolist(), sources.tolist(), strict=True):
                texts[row] = train.texts[source]
        return ContaminatedDataset(
            with_train(dataset, inputs=inputs, labels=labels, texts=texts), len(rows), len(train)
        )

    def _copies(self, count: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows that are overwritten, ascending, and the source row of each copy, int64 each.

        A higher rate overwrites every row that a lower rate does. The sources differ: a source is never overwritten.
        """
        rows = choose_units(round(self.rate * count), count, seed=seed, label=LABEL)
        rest = np.setdiff1d(np.arange(count), rows)
        if not len(rest):
            raise MeasurementError(f"{self.name}: rate {self.rate} of {count} samples leaves none to copy")
        return rows, rest[draw_integers(rows, 1, LARGE, seed=seed, label=f"{LABEL}/source")[:, 0] % len(rest)]


class NearDuplicates(Duplicates):
    """Duplicates in which every copy differs slightly from its source.

    An image gets uniform noise of up to ``levels`` grey levels; in a text one word becomes another word of the task; in
    a sequence without texts one token becomes another token.
    """

    name: ClassVar[str] = "near-duplicates"

    levels: int = Field(default=8, ge=1, le=255)
    """Largest change of a pixel value, of 255."""

    def contaminate(self, dataset: Dataset, seed: int, data_dir: str | None = None) -> ContaminatedDataset:
        """Overwrite the chosen rows by changed copies of other rows."""
        found = super().contaminate(dataset, seed)
        rows, _ = self._copies(len(dataset.train), seed)
        change = self._pixels if is_image(dataset) else self._words if dataset.train.texts else self._tokens
        return ContaminatedDataset(change(found.dataset, rows, seed), found.changed, found.units)

    def _pixels(self, dataset: Dataset, rows: NDArray[np.int64], seed: int) -> Dataset:
        inputs = np.array(dataset.train.inputs)
        noise = draw_image_integers(rows, inputs.shape[1:], 2 * self.levels + 1, seed=seed, label=f"{LABEL}/noise")
        for part, numbers in noise:
            inputs[part] = np.clip(inputs[part] + numbers - self.levels, 0, 255)
        return with_train(dataset, inputs=inputs)

    def _words(self, dataset: Dataset, rows: NDArray[np.int64], seed: int) -> Dataset:
        others, texts = RandomWords(dataset, self.name), {}
        draws = draw_integers(rows, 2, LARGE, seed=seed, label=f"{LABEL}/noise").tolist()
        for row, (place, number) in zip(rows.tolist(), draws, strict=True):
            text = dataset.train.texts[row]
            texts[row] = swap_words(text, {place % max(1, len(find_words(text))): number}, others.instead)
        return with_texts(dataset, texts, self.name)

    def _tokens(self, dataset: Dataset, rows: NDArray[np.int64], seed: int) -> Dataset:
        others, inputs = RandomTokens(dataset, self.name), np.array(dataset.train.inputs)
        draws = draw_integers(rows, 2, LARGE, seed=seed, label=f"{LABEL}/noise")
        for row, (place, number) in zip(rows.tolist(), draws, strict=True):
            own = np.flatnonzero(others.are(inputs[row]))
            if len(own):
                at = own[place % len(own)]
                inputs[row, at] = others.instead(inputs[row, at], number)
        return with_train(dataset, inputs=inputs)
