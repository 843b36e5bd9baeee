"""Gaussian blur."""

from typing import ClassVar, cast

from torch import Tensor

from robustbench_wb.stressors.corruptions.corruption import Corruption
from robustbench_wb.stressors.corruptions.filters import apply_in_blocks, gaussian_blur


class GaussianBlur(Corruption):
    """Gaussian blur, truncated at 4 standard deviations, edges continued (Hendrycks & Dietterich 2019)."""

    name: ClassVar[str] = "gaussian-blur"
    fidelity = "E"
    constants: ClassVar = {  # standard deviation in pixels
        32: (0.4, 0.6, 0.7, 0.8, 1.0),
        64: (0.5, 0.75, 1.0, 1.25, 1.5),
        224: (1, 2, 3, 4, 6),
    }

    def perturb(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Blur the images; no random draws."""
        sigma = cast("float", self.severity_constants(images.shape))
        return apply_in_blocks(images, lambda block: self.to_levels(gaussian_blur(block, sigma)))
