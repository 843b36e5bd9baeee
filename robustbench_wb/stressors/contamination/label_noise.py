"""Random noise on training labels."""

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from robustbench_wb.errors import MeasurementError
from robustbench_wb.spec import Exact
from robustbench_wb.stressors.contamination.training_split import (
    choose_units,
    draw_integers,
    require_classes,
    with_train,
)
from robustbench_wb.stressors.training_contamination import ContaminatedDataset, TrainingContamination
from robustbench_wb.tasks.task import Dataset

LabelNoiseKind = Literal["symmetric", "resampled", "pair", "asymmetric"]

CLASS_CONFUSIONS: tuple[dict[str, str], ...] = (
    {"truck": "automobile", "bird": "airplane", "deer": "horse", "cat": "dog", "dog": "cat"},
    {"7": "1", "2": "7", "5": "6", "6": "5", "3": "8"},
)
"""Class confusions of CIFAR-10 and of digits (Patrini et al. 2017, section 5: their figures for CIFAR-10 and MNIST)."""


class LabelNoise(TrainingContamination):
    """Some training samples get another label.

    ``symmetric``: one of the K - 1 other classes, uniformly. ``resampled``: one of all K classes, uniformly, so that
    about rate (K - 1)/K of the labels are wrong. ``pair``: the next class, y + 1 mod K (Han et al. 2018, Co-teaching).
    ``asymmetric``: the class that it is easily confused with (``MAPS``); the rate then refers to the classes that
    have a confusion, and is half as large overall where these are half of all. Counts labels that differ, over all
    samples.
    """

    name: ClassVar[str] = "label-noise"
    axis: ClassVar[str | None] = "rate"

    rate: Exact = Field(ge=0, lt=1)
    """Share of the samples whose labels are drawn again."""
    noise: LabelNoiseKind = "symmetric"

    @property
    def label(self) -> str:
        """Name and kind of noise: different kinds are different rows."""
        return f"{self.name}:{self.noise}"

    def contaminate(self, dataset: Dataset, seed: int, data_dir: str | None = None) -> ContaminatedDataset:
        """Replace labels; the chosen samples are equal for every kind of noise but ``asymmetric``.

        Raises:
            MeasurementError: the task has no labels, or no confusions for ``asymmetric``.
        """
        classes, labels = require_classes(dataset, self.name), dataset.train.labels.copy()
        wrong = _mistaken_for(dataset) if self.noise == "asymmetric" else np.arange(1, classes + 1) % classes
        open_rows = np.flatnonzero(wrong[labels] != labels)
        rows = open_rows[choose_units(round(self.rate * len(open_rows)), len(open_rows), seed=seed, label=self.name)]
        if self.noise in ("symmetric", "resampled"):
            first = int(self.noise == "symmetric")
            steps = first + draw_integers(rows, 1, classes - first, seed=seed, label=f"{self.name}/{self.noise}")[:, 0]
            labels[rows] = (labels[rows] + steps) % classes
        else:
            labels[rows] = wrong[labels[rows]]
        changed = int((labels != dataset.train.labels).sum())
        return ContaminatedDataset(with_train(dataset, labels=labels), changed, len(labels))


def _mistaken_for(dataset: Dataset) -> NDArray[np.int64]:
    """Confused class of each class, int64 (K,); the class itself if it has none.

    Raises:
        MeasurementError: no confusions are known for these classes.
    """
    classes = dataset.classes
    for names in CLASS_CONFUSIONS:
        if {*names, *names.values()} <= set(classes):
            return np.array([classes.index(names.get(name, name)) for name in classes], np.int64)
    raise MeasurementError(
        f"label-noise: noise=asymmetric knows class confusions for CIFAR-10 and digits only, not for task "
        f"{dataset.label!r}; use noise=pair"
    )
