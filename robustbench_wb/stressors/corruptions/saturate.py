"""Saturate: the saturation of HSV scaled and shifted."""

from typing import ClassVar, cast

import torch
from torch import Tensor

from robustbench_wb.stressors.corruptions.colour_corruption import ColourCorruption


class Saturate(ColourCorruption):
    """S' = clip(a S + b, 0, 1) in HSV (Hendrycks & Dietterich 2019, validation set).

    Hue and value stay: x' = V - (V - x) S'/S. A grey pixel has hue 0: for b > 0 it turns red, (V, V(1 - b), V(1 - b)).
    """

    name: ClassVar[str] = "saturate"
    fidelity = "E"
    constants: ClassVar = {
        32: ((0.3, 0.0), (0.1, 0.0), (1.5, 0.0), (2.0, 0.1), (2.5, 0.2)),
        64: ((0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (30.0, 0.2)),
        224: ((0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (20.0, 0.2)),
    }

    def perturb_colours(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Change the saturation; no random draws."""
        scale, shift = cast("tuple[float, float]", self.severity_constants(images.shape))
        value = images.amax(1, keepdim=True)
        depth = value - images
        chroma = value - images.amin(1, keepdim=True)
        red = torch.tensor([0, 1, 1], dtype=torch.uint8, device=images.device).view(3, 1, 1)
        depth = torch.where(chroma == 0, red, depth)
        value = value.float()
        saturation = (chroma * scale / value.clamp(min=1) + shift).clamp_(0, 1)
        return self.to_levels(value - depth * (value * saturation / chroma.clamp(min=1)))
