"""Black pixels."""

from typing import ClassVar

from torch import Tensor

from robustbench_wb.stressors.contamination.images import ImageContamination


class PixelDropout(ImageContamination):
    """A chosen pixel is black in all channels. Units: pixels; one that was black before is chosen, but not changed."""

    name: ClassVar[str] = "pixel-dropout"

    def perturb(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Places are the only draws."""
        height, width = images.shape[-2:]
        return images.masked_fill(self.chosen(ids, height * width, seed).view(-1, 1, height, width), 0)
