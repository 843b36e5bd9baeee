"""Contrast: pixels moved toward the mean of their channel."""

from typing import ClassVar, cast

import torch
from torch import Tensor

from robustbench_wb.stressors.corruptions.corruption import Corruption


class Contrast(Corruption):
    """(x - m) c + m, where m is the mean of a channel (Hendrycks & Dietterich 2019)."""

    name: ClassVar[str] = "contrast"
    fidelity = "E"
    constants: ClassVar = {
        32: (0.75, 0.5, 0.4, 0.3, 0.15),
        64: (0.4, 0.3, 0.2, 0.1, 0.05),
        224: (0.4, 0.3, 0.2, 0.1, 0.05),
    }

    def perturb(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Reduce the contrast; no random draws."""
        factor = cast("float", self.severity_constants(images.shape))
        area = images.shape[-2] * images.shape[-1]
        # A sum of integers does not depend on its order.
        means = (images.sum((2, 3), keepdim=True, dtype=torch.int64).double() / area).float()
        return self.to_levels((images.float() - means) * factor + means)
