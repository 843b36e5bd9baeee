"""External image models with differentiable preprocessing: input images are in [0, 1], at the task's size."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from robustbench_wb.errors import SubjectError
from robustbench_wb.models.shape import ImageShape

INTERPOLATIONS = ("nearest-exact", "bilinear", "bicubic")


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """Input format that a model was trained on: size in pixels, normalisation, and interpolation mode."""

    height: int
    width: int
    mean: Sequence[float]
    """Mean per channel, for images in [0, 1]; its length is the number of the model's channels."""
    std: Sequence[float]
    interpolation: str


class ImageModel(nn.Module):
    """External image model with its preprocessing: expand grey images to colour, resize, normalise.

    The whole image is resized to the model's input size, without the centre crop of the libraries' pipelines, because
    the model must see every pixel that a perturbation changes.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, shape: ImageShape, preprocessing: Preprocessing, *, fresh_head: bool) -> None:
        """Wrap ``model``; ``fresh_head`` says that its head is new and untrained.

        Raises:
            SubjectError: the number of channels does not fit, or the interpolation mode is unknown.
        """
        super().__init__()
        channels = len(preprocessing.mean)
        if shape.channels not in (1, channels):
            raise SubjectError(f"the model takes {channels} channels, but the task's images have {shape.channels}")
        if preprocessing.interpolation not in INTERPOLATIONS:
            known = ", ".join(INTERPOLATIONS)
            raise SubjectError(f"the model resizes with {preprocessing.interpolation!r}; supported: {known}")
        self.model = model
        self.channels, self.fresh_head = channels, fresh_head
        self.size = (preprocessing.height, preprocessing.width)
        self.interpolation = preprocessing.interpolation
        self.register_buffer("mean", torch.tensor(preprocessing.mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(preprocessing.std, dtype=torch.float32))

    def prepare(self, images: Tensor) -> Tensor:
        """Convert images (B, C, H, W) in [0, 1] to model inputs (B, channels, height, width)."""
        if images.shape[1] == 1:
            images = images.expand(-1, self.channels, -1, -1)
        if images.shape[2:] != self.size:
            images = self._resize(images)
        return (images - self.mean[:, None, None]) / self.std[:, None, None]

    def _resize(self, images: Tensor) -> Tensor:
        if self.interpolation == "nearest-exact":
            return functional.interpolate(images, self.size, mode="nearest-exact")
        resized = functional.interpolate(
            images, self.size, mode=self.interpolation, align_corners=False, antialias=True
        )
        return resized.clamp(0.0, 1.0)  # bicubic interpolation overshoots; the libraries clip to the pixel range

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) in [0, 1] to logits (B, classes)."""
        answer = self.model(self.prepare(images))
        logits: Tensor = answer if isinstance(answer, Tensor) else answer.logits
        return logits
