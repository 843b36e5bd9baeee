"""The subject on the table: its model and a few real samples."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from robustbench_wb.errors import as_measurement_error
from robustbench_wb.models.shape import ImageShape, Shape

LOOKED_AT = 8
"""Samples in most checks."""
LABELLED = 256
"""Samples of the checks that need labels."""


@dataclass(eq=False)
class ExaminedModel:
    """A model in eval mode with frozen weights, and samples of the task it shall be tested on."""

    model: nn.Module
    shape: Shape
    inputs: Tensor
    """On the device: images, float32 (N, C, H, W) in [0, 1], or token ids, int64 (N, L)."""
    labels: Tensor
    """int64 (N,)."""
    classes: tuple[str, ...]
    """Names of the task's classes, in order."""

    @property
    def device(self) -> torch.device:
        """Where everything is."""
        return self.inputs.device

    @property
    def images(self) -> bool:
        """Whether the inputs are images."""
        return isinstance(self.shape, ImageShape)

    @cached_property
    def few(self) -> Tensor:
        """The first samples."""
        return self.inputs[:LOOKED_AT]

    def ask(self, inputs: Tensor) -> Tensor:
        """The answer of the model, without gradients.

        Raises:
            MeasurementError: it raised.
        """
        with torch.no_grad():
            return self.attempt(lambda: self.model(inputs))

    def ask_many(self, inputs: Tensor) -> Tensor:
        """The same in small batches, in float32."""
        return torch.cat([self.ask(part).float() for part in torch.split(inputs, 32)])

    @staticmethod
    def attempt(action: Callable[[], Tensor]) -> Tensor:
        """Do what may raise anything.

        Raises:
            MeasurementError: it raised.
        """
        with as_measurement_error("the model"):
            return action()

    def first(self, count: int) -> "ExaminedModel":
        """The same with fewer samples."""
        return replace(self, inputs=self.inputs[:count], labels=self.labels[:count])


def spread(logits: Tensor) -> float:
    """How far logits lie apart: the scale that differences are compared with. Never 0."""
    values = logits.float()
    return max(float((values - values.mean()).abs().max()), 1e-12)
