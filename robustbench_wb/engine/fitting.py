"""Fitting of stressors to the training split of a task."""

import numpy as np
import torch

from robustbench_wb import rng
from robustbench_wb.engine.task_samples import MeasuredModel, inputs_at
from robustbench_wb.errors import MeasurementError
from robustbench_wb.models.batching import to_inputs
from robustbench_wb.stressors.fitted_stressor import FittedStressor
from robustbench_wb.stressors.stressor import Stressor
from robustbench_wb.tasks.task import Split


def fit_to_training(stressor: Stressor, train: Split | None, model: MeasuredModel, *, seed: int) -> Stressor:
    """Return the stressor fitted to the first samples of a fixed random order of the training split.

    A stressor that is not fitted is returned as it is. Evaluated samples have no part in it.

    Raises:
        MeasurementError: there are no training samples, or the stressor failed.
    """
    if not isinstance(stressor, FittedStressor):
        return stressor
    if train is None or not len(train):
        raise MeasurementError(
            f"{stressor.name} is fitted to training samples, and there are none; run it on a task with a training split"
        )
    order = rng.permutation(len(train), 0, "fitting-samples").numpy()
    rows = np.sort(order[: stressor.fitting_samples]).astype(np.int64)
    labels = torch.from_numpy(train.labels[rows]).long().to(model.device)
    return stressor.fit(to_inputs(inputs_at(train, rows), model.device), labels, model.access(), seed=seed)
