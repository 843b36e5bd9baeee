"""Image pixels set to black."""

from typing import ClassVar

from torch import Tensor

from robustbench_wb.stressors.contamination.image_contamination import ImageContamination


class PixelDropout(ImageContamination):
    """A chosen pixel is black in all channels. Units: pixels; a black pixel can be chosen, but does not count as
    changed."""

    name: ClassVar[str] = "pixel-dropout"

    def perturb(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Set the chosen pixels to black."""
        height, width = images.shape[-2:]
        return images.masked_fill(self.chosen(ids, height * width, seed).view(-1, 1, height, width), 0)
