"""Training data whose last batch would hold one sample, for models that cannot be trained on one."""

import logging
from copy import deepcopy

import torch
from torch import Tensor, nn

from robustbench_wb.errors import MeasurementError, as_measurement_error
from robustbench_wb.training.loop import TrainingData
from robustbench_wb.training.recipe import Recipe

_log = logging.getLogger(__name__)
_RAISED = "more than 1 value per channel"
"""Part of the message of torch's batch normalisation for a batch without a variance."""


def without_lone_sample(model: nn.Module, data: TrainingData, recipe: Recipe, label: str) -> TrainingData:
    """Return the data without their last sample if an epoch would end with a batch of one on which the model raises.

    Batch normalisation has no variance in a batch of one. Models that can be trained on one sample keep all samples.

    Args:
        model: the model to train, on the device of the data.
        data: the recipe's share of the training split.
        recipe: gives the batch size.
        label: name of the model and its data in the log.
    """
    count = len(data.labels)
    if count < 2 or count % recipe.batch != 1:
        return data
    first = data.inputs[torch.zeros(1, dtype=torch.int64)]
    if not raises_on_one(model, first.long() if data.texts else first.float() / 255):
        return data
    _log.warning(
        "%s: one of %d training samples is left out: batch normalisation cannot take a last batch of one", label, count
    )
    return TrainingData(data.inputs, data.labels[:-1])  # inputs without a label are never taken


def raises_on_one(model: nn.Module, sample: Tensor) -> bool:
    """Whether batch normalisation of a copy of the model, in training mode, refuses a batch of one sample (1, ...)."""
    devices = [sample.device] if sample.device.type == "cuda" else []
    try:
        with as_measurement_error("a batch of one"), torch.random.fork_rng(devices=devices), torch.no_grad():
            deepcopy(model).train()(sample)
    except MeasurementError as error:
        return _RAISED in str(error)
    return False
