"""Image pixels of random colour."""

from typing import ClassVar

from torch import Tensor

from robustbench_wb.stressors.contamination.image_contamination import ImageContamination, other_colours


class OutlierPixels(ImageContamination):
    """A chosen pixel gets a random colour that differs from its own in every channel. Units: pixels."""

    name: ClassVar[str] = "outlier-pixels"

    def perturb(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Recolour the chosen pixels; positions and colours use separate random streams."""
        height, width = images.shape[-2:]
        chosen = self.chosen(ids, height * width, seed).view(-1, 1, height, width)
        return images.where(~chosen, other_colours(images, ids, seed=seed, label=f"{self.name} colours"))
