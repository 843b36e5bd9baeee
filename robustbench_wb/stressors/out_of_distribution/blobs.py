"""Images of amorphous shapes with definite edges."""

from typing import ClassVar

from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.stressors.corruptions.smoothing import smooth
from robustbench_wb.stressors.out_of_distribution.out_of_distribution import OutOfDistribution


class Blobs(OutOfDistribution):
    """Shapes in two levels of every channel, after the Blobs of Hendrycks, Mazeika & Dietterich (2019, arXiv
    1812.04606).

    Normal noise is smoothed with a standard deviation of a sixteenth of the shorter side, at least one pixel. Values
    above the median of their channel are white, the others black.
    """

    name: ClassVar[str] = "ood-blobs"

    def perturb(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Shapes in the size of the images, uint8 (B, C, H, W)."""
        noise = rng.normal16(ids, tuple(images.shape[1:]), seed=seed, label=self.name)
        fields = smooth(noise, max(1.0, min(images.shape[-2:]) / 16), border="reflect")
        middle = fields.flatten(2).median(2).values[..., None, None]
        return (fields > middle).to(images.dtype) * 255
