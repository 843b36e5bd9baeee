"""Base of image corruptions: severity from 1 to 5, calibration for the image size, and mode."""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import BeforeValidator, Field
from torch import Tensor

from robustbench_wb.stressors.model_free import ModelFreeImageStressor

Calibration = Literal[32, 64, 224]
Fidelity = Literal["E", "D", "A"]
"""Closeness to the reference implementation. E: within 1 level for equal draws. D: equal distribution (PSNR and mean
shift within the ranges of the reference). A: an approximation."""


def _number(value: object) -> object:
    """Integer that the text of a signature spells; other values unchanged."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


class Corruption(ModelFreeImageStressor):
    """Base of image corruptions. A subclass sets the severity constants and perturbs a batch."""

    axis: ClassVar[str | None] = "severity"
    fidelity: ClassVar[Fidelity]
    constants: ClassVar[dict[Calibration, tuple[object, ...]]]
    """Constants of the five severities for each calibration: 32 pixels (CIFAR-C), 64 (Tiny-ImageNet-C), 224
    (ImageNet-C)."""

    severity: int = Field(ge=1, le=5)
    calibration: Annotated[Calibration | None, BeforeValidator(_number)] = None
    """Image side for which the constants were chosen; None: the nearest of the three."""
    mode: Literal["fixed", "reference"] = "fixed"
    """``reference`` keeps those defects of the reference code that change the distribution."""

    def severity_constants(self, shape: Sequence[int]) -> object:
        """Constants of this severity for images of ``shape`` (..., H, W)."""
        return self.constants[self.calibration or calibration_for(min(shape[-2:]))][self.severity - 1]

    def to_levels(self, values: Tensor) -> Tensor:
        """Values on the scale 0..255 as uint8: rounded, or truncated as in the reference (half a level darker)."""
        return (values if self.mode == "reference" else values + 0.5).clamp(0, 255.999).to(torch.uint8)


def calibration_for(side: int) -> Calibration:
    """Nearest calibration of a side by ratio: the limits are the geometric means."""
    return 32 if side < 45 else 64 if side < 120 else 224
