"""Stressors that are fitted to training samples of a task and to a model before they perturb evaluated samples."""

from abc import abstractmethod
from typing import Self

from torch import Tensor

from robustbench_wb.stressors.model_access import ModelAccess
from robustbench_wb.stressors.stressor import Stressor


class FittedStressor(Stressor):
    """Base of stressors that are fitted; the engine gives them samples of the training split only.

    A fitted stressor has the parameters and the signature of the one that it was made from.
    """

    @property
    @abstractmethod
    def fitting_samples(self) -> int:
        """Largest number of training samples that ``fit`` is given."""

    @abstractmethod
    def fit(self, inputs: Tensor, labels: Tensor, access: ModelAccess, *, seed: int) -> Self:
        """Fitted copy of this stressor.

        The result is a function of the samples, the model and the seed. It does not depend on ``access.batch_size``.

        Args:
            inputs: training samples, images float32 (N, C, H, W) in [0, 1].
            labels: their labels, int64 (N,).
            access: the model.
            seed: seed of the run.

        Raises:
            MeasurementError: the model has no finite gradient.
        """
