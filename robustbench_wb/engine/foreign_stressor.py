"""Stressors of other packages: they get copies of samples, and what they change in the model is put back."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import nn

from robustbench_wb.stressors.sample_batch import SampleBatch
from robustbench_wb.stressors.stressor import Stressor

_OWN = "robustbench_wb."


def is_own(stressor: Stressor) -> bool:
    """Whether a stressor is one of this package."""
    return type(stressor).__module__.startswith(_OWN)


def lent(stressor: Stressor, batch: SampleBatch) -> SampleBatch:
    """The batch for a stressor of this package; copies of its tensors for any other, which may write to them."""
    if is_own(stressor):
        return batch
    return replace(batch, inputs=batch.inputs.clone(), labels=batch.labels.clone(), ids=batch.ids.clone())


@contextmanager
def model_put_back(stressor: Stressor, model: nn.Module) -> Iterator[None]:
    """Put back weights, modes and ``requires_grad`` that a stressor of another package changes in this block."""
    if is_own(stressor):
        yield
        return
    tensors = [(tensor, tensor.detach().clone()) for tensor in (*model.parameters(), *model.buffers())]
    wanted = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, before in tensors:
                tensor.copy_(before)
        for parameter, gradient in wanted:
            parameter.requires_grad_(gradient)
            parameter.grad = None
        for module, training in modes:
            module.training = training
