"""Training labels by human annotators, including their mistakes."""

from fractions import Fraction
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from robustbench_wb.errors import DataError, MeasurementError
from robustbench_wb.spec import Exact
from robustbench_wb.stressors.contamination.training_split import choose_units, require_classes, with_train
from robustbench_wb.stressors.training_contamination import ContaminatedDataset, TrainingContamination
from robustbench_wb.tasks.dataset_source import locate_dataset
from robustbench_wb.tasks.task import Dataset

CLEAN = "clean_label"
"""Column with the task's own labels, used to check that the rows are the samples of the task."""


class HumanLabels(TrainingContamination):
    """Labels of human annotators for the same images, like CIFAR-10N (Wei et al. 2022, arXiv 2110.12088).

    The labels come from split ``train`` of another dataset in hub layout, row by row: integers in one column, and the
    task's own labels in ``CLEAN``.
    """

    name: ClassVar[str] = "human-labels"
    axis: ClassVar[str | None] = "rate"

    rate: Exact = Field(default=Fraction(1), ge=0, le=1)
    """Share of the differing labels that are used; 1 uses all labels of the annotators. ``realised`` is the share of
    wrong labels."""
    source: str = Field(default="cifar10n", pattern=r"^[^;\s]+$")
    """Hub id, or name of a folder in the data folder."""
    column: str = Field(default="worse_label", pattern=r"^[^;\s]+$")

    @property
    def label(self) -> str:
        """Name and column: different columns are different rows."""
        return f"{self.name}:{self.column}"

    def contaminate(self, dataset: Dataset, seed: int, data_dir: str | None = None) -> ContaminatedDataset:
        """Replace the labels of all or some samples by those of the annotators."""
        classes, labels = require_classes(dataset, self.name), dataset.train.labels.copy()
        given = self._given(dataset, classes, data_dir)
        differing = np.flatnonzero(given != labels)
        rows = differing[choose_units(round(self.rate * len(differing)), len(differing), seed=seed, label=self.name)]
        labels[rows] = given[rows]
        return ContaminatedDataset(with_train(dataset, labels=labels), len(rows), len(labels))

    def _given(self, dataset: Dataset, classes: int, data_dir: str | None) -> NDArray[np.int64]:
        """The annotators' label of every training sample, int64 (N,).

        Raises:
            MeasurementError: the labels cannot be loaded, or belong to other samples.
        """
        try:
            splits = locate_dataset(self.source, data_dir).open()
        except DataError as error:
            raise MeasurementError(f"{self.name}: {error}") from error
        columns = splits["train"].column_names if "train" in splits else []
        if not {CLEAN, self.column} <= set(columns):
            have = f"columns {columns}" if columns else "no split 'train'"
            raise MeasurementError(f"{self.name}: {self.source!r} has {have}; needed are {CLEAN!r} and {self.column!r}")
        clean, given = (self._integers(splits["train"][name]) for name in (CLEAN, self.column))
        if len(clean) != len(dataset.train):
            raise MeasurementError(
                f"{self.name}: {self.source!r} has {len(clean)} rows, but task {dataset.label!r} trains on "
                f"{len(dataset.train)}"
            )
        other = np.flatnonzero(clean != dataset.train.labels)
        if len(other):
            raise MeasurementError(
                f"{self.name}: {CLEAN!r} of {self.source!r} differs from the labels of task {dataset.label!r} in "
                f"{len(other)} rows, first in row {other[0]}: these are not labels of the same samples"
            )
        if given.min() < 0 or given.max() >= classes:
            raise MeasurementError(f"{self.name}: {self.column!r} has labels outside 0..{classes - 1}")
        return given

    def _integers(self, values: object) -> NDArray[np.int64]:
        found = np.asarray(values)
        if found.dtype.kind not in "iu" or found.ndim != 1:
            raise MeasurementError(f"{self.name}: the labels of {self.source!r} are not integers")
        return found.astype(np.int64)
