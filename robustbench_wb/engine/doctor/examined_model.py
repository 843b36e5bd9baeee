"""The model that the doctor examines, with labelled samples of its task."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from robustbench_wb.errors import as_measurement_error
from robustbench_wb.models.shape import ImageShape, Shape

FIRST_SAMPLES = 8
"""Number of samples in checks that need no labels."""
LABELLED_SAMPLES = 256
"""Number of samples in checks that need labels."""


@dataclass(eq=False, kw_only=True)
class ExaminedModel:
    """A model in eval mode with frozen weights, and samples of the task that it is to be evaluated on."""

    model: nn.Module
    shape: Shape
    inputs: Tensor
    """Images, float32 (N, C, H, W) in [0, 1], or token ids, int64 (N, L), on the device of the model."""
    labels: Tensor
    """True classes, int64 (N,)."""
    classes: tuple[str, ...]
    """Names of the task's classes, in order."""

    @property
    def device(self) -> torch.device:
        """Device of the model and the samples."""
        return self.inputs.device

    @property
    def is_image(self) -> bool:
        """Whether the inputs are images."""
        return isinstance(self.shape, ImageShape)

    @cached_property
    def first_inputs(self) -> Tensor:
        """The first ``FIRST_SAMPLES`` inputs."""
        return self.inputs[:FIRST_SAMPLES]

    def logits(self, inputs: Tensor) -> Tensor:
        """Output of the model, without gradients.

        Raises:
            MeasurementError: the model raised.
        """
        with torch.no_grad():
            return self.guarded(lambda: self.model(inputs))

    def batched_logits(self, inputs: Tensor) -> Tensor:
        """Output of the model in float32, computed in batches of 32, without gradients.

        Raises:
            MeasurementError: the model raised.
        """
        return torch.cat([self.logits(part).float() for part in torch.split(inputs, 32)])

    @staticmethod
    def guarded(action: Callable[[], Tensor]) -> Tensor:
        """Call a function that runs the model.

        Raises:
            MeasurementError: the function raised anything.
        """
        with as_measurement_error("the model"):
            return action()

    def with_first(self, count: int) -> "ExaminedModel":
        """Copy with the first ``count`` samples only."""
        return replace(self, inputs=self.inputs[:count], labels=self.labels[:count])


def logit_spread(logits: Tensor) -> float:
    """Largest distance of a logit from the mean of all logits: the scale of differences. At least 1e-12."""
    values = logits.float()
    return max(float((values - values.mean()).abs().max()), 1e-12)
