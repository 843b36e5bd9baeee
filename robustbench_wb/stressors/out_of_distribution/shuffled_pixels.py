"""Images whose pixels are in random order."""

from typing import ClassVar

from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.stressors.out_of_distribution.out_of_distribution import OutOfDistribution


class ShuffledPixels(OutOfDistribution):
    """Pixels of the sample in a random order, which differs between samples: its colours stay, its shapes do not."""

    name: ClassVar[str] = "ood-shuffled-pixels"

    def perturb(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Shuffled images, uint8 (B, C, H, W)."""
        pixels = images.flatten(2)
        order = rng.words(ids, pixels.shape[2], seed=seed, label=self.name).argsort(dim=1, stable=True)
        return pixels.gather(2, order[:, None].expand_as(pixels)).view_as(images)
