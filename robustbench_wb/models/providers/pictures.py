"""Images in [0, 1] at the task's size, to what somebody's image model was trained on. All of it is differentiable."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from robustbench_wb.errors import SubjectError
from robustbench_wb.models.shape import ImageShape

INTERPOLATIONS = ("nearest-exact", "bilinear", "bicubic")


@dataclass(frozen=True)
class Preprocessing:
    """What a model was trained on."""

    height: int
    width: int
    mean: Sequence[float]
    """Per channel, of images in [0, 1]; their number is the model's channels."""
    std: Sequence[float]
    interpolation: str


class Pictures(nn.Module):
    """Somebody's image model with its preprocessing inside: grey to colour, resize, normalise.

    The whole image is resized to the model's size. The centre crop of the libraries' own pipelines is left out: what a
    stressor changes must be seen.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, shape: ImageShape, preprocessing: Preprocessing, fresh_head: bool) -> None:
        """``fresh_head``: whether the head was made for this task and is not trained yet.

        Raises:
            SubjectError: the channels do not fit, or the interpolation is unknown.
        """
        super().__init__()
        channels = len(preprocessing.mean)
        if shape.channels not in (1, channels):
            raise SubjectError(f"the model takes {channels} channels and the task's images have {shape.channels}")
        if preprocessing.interpolation not in INTERPOLATIONS:
            known = ", ".join(INTERPOLATIONS)
            raise SubjectError(f"the model resizes by {preprocessing.interpolation!r}; known here: {known}")
        self.model = model
        self.channels, self.fresh_head = channels, fresh_head
        self.size = (preprocessing.height, preprocessing.width)
        self.interpolation = preprocessing.interpolation
        self.register_buffer("mean", torch.tensor(preprocessing.mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(preprocessing.std, dtype=torch.float32))

    def prepare(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] to what the model takes, (B, channels, height, width)."""
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
        return resized.clamp(0.0, 1.0)  # bicubic overshoots, and the libraries clip to the range of pixels

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) in [0, 1] to logits (B, classes)."""
        answer = self.model(self.prepare(images))
        logits: Tensor = answer if isinstance(answer, Tensor) else answer.logits
        return logits
