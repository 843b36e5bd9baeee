"""Images of uniform noise."""

from typing import ClassVar

import torch
from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.stressors.out_of_distribution.out_of_distribution import OutOfDistribution


class UniformNoiseImages(OutOfDistribution):
    """Every value is drawn from 0 to 255 with equal chances (Hendrycks & Gimpel 2017, arXiv 1610.02136)."""

    name: ClassVar[str] = "ood-uniform-noise"

    def perturb(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Noise of the shape of the images, uint8 (B, C, H, W)."""
        draws = rng.uniform16(ids, tuple(images.shape[1:]), seed=seed, label=self.name)
        return (draws >> 8).to(torch.uint8)
