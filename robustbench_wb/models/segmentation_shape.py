"""Shape of segmentation tasks, which have a label per pixel. This module does not import torch."""

from fractions import Fraction
from typing import Final, Self

from pydantic import Field, model_validator

from robustbench_wb.errors import UsageError
from robustbench_wb.models.shape import ImageShape
from robustbench_wb.spec import Exact

VOID: Final = -100
"""Label of pixels that do not count, in training and evaluation. torch's cross-entropy leaves the same label out."""


class SegmentationShape(ImageShape):
    """Segmentation tasks: images as in ``ImageShape``, and one of ``classes`` labels for every pixel.

    A model returns logits (B, classes, height, width).

    Raises:
        UsageError: ``stride`` does not divide ``patch``.
    """

    stride: int = Field(default=1, gt=0)
    """Side in pixels of the squares for which the head of a variant predicts logits, which are then interpolated to
    pixels. 1: every pixel has logits of its own. ``patch``: a patch has one vector of logits."""
    least_iou: Exact = Field(default=Fraction(1, 2), gt=0, le=1)
    """Mean IoU from which an image counts as correct: the mean over the classes in its label, see
    ``robustbench_wb.stats.pixel_counts``."""

    @model_validator(mode="after")
    def _stride_divides_patch(self) -> Self:
        if self.patch % self.stride:
            raise UsageError(f"stride {self.stride} does not divide a patch of {self.patch} pixels")
        return self
