"""Brightness: a constant added to V in HSV."""

from typing import ClassVar, cast

import torch
from torch import Tensor

from robustbench_wb.stressors.corruptions.corruption import Corruption


class Brightness(Corruption):
    """V' = min(V + c, 1) in HSV (Hendrycks & Dietterich 2019).

    Hue and saturation depend on ratios of the channels only, so the conversion to HSV and back is a factor V'/V. Black,
    which has no ratios, becomes the grey V'.
    """

    name: ClassVar[str] = "brightness"
    fidelity = "E"
    constants: ClassVar = {
        32: (0.05, 0.1, 0.15, 0.2, 0.3),
        64: (0.1, 0.2, 0.3, 0.4, 0.5),
        224: (0.1, 0.2, 0.3, 0.4, 0.5),
    }

    def perturb(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Brighten the images; no random draws."""
        shift = 255 * cast("float", self.severity_constants(images.shape))
        value = images.amax(1, keepdim=True).float()
        brighter = (value + shift).clamp_(max=255)
        return self.to_levels(torch.where(value == 0, brighter, images * (brighter / value.clamp(min=1))))
