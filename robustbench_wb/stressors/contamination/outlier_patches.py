"""Square image patches of random content."""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.stressors.contamination.image_contamination import ImageContamination, other_colours


class OutlierPatches(ImageContamination):
    """Every pixel of a chosen patch gets a random colour that differs from its own in every channel.

    Patches lie on a grid with a random shift for each image, so that it does not coincide with the patches of a vision
    transformer; patches at the edges are cut. All patches are equally likely, so the area is right on average. Units:
    patches; counts pixels.
    """

    name: ClassVar[str] = "outlier-patches"

    side: int = Field(default=4, ge=1)
    """Side of a patch in pixels."""

    def perturb(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Fill the chosen patches; patches, shifts and colours use separate random streams."""
        height, width = images.shape[-2:]
        down, across = (1 + -(-size // self.side) for size in (height, width))  # a shifted grid has one more
        shifts = rng.bounded_integers(self.side, rng.words(ids, 2, seed=seed, label=f"{self.name} shifts"))
        lines, columns = (
            (torch.arange(size, device=ids.device) + shifts[:, at, None]) // self.side
            for at, size in enumerate((height, width))
        )
        cells = lines[:, :, None] * across + columns[:, None, :]
        chosen = self.chosen(ids, down * across, seed).gather(1, cells.flatten(1)).view(-1, 1, height, width)
        return images.where(~chosen, other_colours(images, ids, seed=seed, label=f"{self.name} colours"))
