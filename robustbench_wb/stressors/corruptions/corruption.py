"""What all image corruptions share: a severity from 1 to 5, a calibration for the size of the images, a mode."""

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import BeforeValidator, Field
from torch import Tensor

from robustbench_wb.stressors.blind import BlindImages

Calibration = Literal[32, 64, 224]
Fidelity = Literal["E", "D", "A"]
"""How close an operation is to the reference. E: within 1 level for the same draws. D: the same distribution (PSNR and
mean shift in the bands of the reference). A: an approximation."""


def _number(value: object) -> object:
    """The number that a signature spells."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


class Corruption(BlindImages):
    """Base of the corruptions. A subclass holds its severity constants and perturbs a batch."""

    axis: ClassVar[str | None] = "severity"
    fidelity: ClassVar[Fidelity]
    constants: ClassVar[dict[Calibration, tuple[object, ...]]]
    """The five severities of each calibration: 32 pixels (CIFAR-C), 64 (Tiny-ImageNet-C), 224 (ImageNet-C)."""

    severity: int = Field(ge=1, le=5)
    calibration: Annotated[Calibration | None, BeforeValidator(_number)] = None
    """For images of which side the constants were chosen; None: that of the nearest size."""
    mode: Literal["fixed", "reference"] = "fixed"
    """``reference`` keeps those defects of the reference code that change the distribution."""

    def setting(self, height: int, width: int) -> object:
        """The constants of this severity for images of that size."""
        return self.constants[self.calibration or calibration_for(min(height, width))][self.severity - 1]

    def levels(self, values: Tensor) -> Tensor:
        """Values on the scale 0..255 to levels: rounded, or cut off as the reference does it (half a level darker)."""
        return (values if self.mode == "reference" else values + 0.5).clamp(0, 255.999).to(torch.uint8)


def calibration_for(side: int) -> Calibration:
    """The nearest calibration by ratio: the limits are the geometric means."""
    return 32 if side < 45 else 64 if side < 120 else 224
