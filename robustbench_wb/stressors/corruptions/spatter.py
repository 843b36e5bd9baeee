"""Spatter: drops of water or mud on the lens."""

from typing import ClassVar, NamedTuple, cast

import torch
from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.stressors.corruptions.colour_corruption import ColourCorruption
from robustbench_wb.stressors.corruptions.drop_relief import relief
from robustbench_wb.stressors.corruptions.filters import apply_in_blocks
from robustbench_wb.stressors.corruptions.smoothing import smooth

WATER, MUD = (175.0, 238.0, 238.0), (63.0, 42.0, 20.0)


class SpatterConstants(NamedTuple):
    """Constants of one severity."""

    mean: float
    """Mean of the random field."""
    deviation: float
    """Standard deviation of the random field."""
    sigma: float
    """Standard deviation in pixels of the smoothing of the field."""
    threshold: float
    """Values of the field above it are drops."""
    strength: float
    """Water: largest weight of its colour. Mud: standard deviation in pixels of the blur of its drops."""
    mud: int
    """1 for mud, 0 for water."""


class Spatter(ColourCorruption):
    """Smoothed noise above a threshold forms drops (Hendrycks & Dietterich 2019, validation set).

    Water adds its colour with weights that are highest inside a drop. Mud replaces the image where its blurred drops
    are thick.
    """

    name: ClassVar[str] = "spatter"
    fidelity = "E"
    constants: ClassVar = {  # in the order of SpatterConstants
        32: (
            (0.62, 0.1, 0.7, 0.7, 0.5, 0),
            (0.65, 0.1, 0.8, 0.7, 0.5, 0),
            (0.65, 0.3, 1, 0.69, 0.5, 0),
            (0.65, 0.1, 0.7, 0.69, 0.6, 1),
            (0.65, 0.1, 0.5, 0.68, 0.6, 1),
        ),
        64: (
            (0.62, 0.1, 0.7, 0.7, 0.6, 0),
            (0.65, 0.1, 0.8, 0.7, 0.6, 0),
            (0.65, 0.3, 1, 0.69, 0.6, 0),
            (0.65, 0.1, 0.7, 0.68, 0.6, 1),
            (0.65, 0.1, 0.5, 0.67, 0.6, 1),
        ),
        224: (
            (0.65, 0.3, 4, 0.69, 0.6, 0),
            (0.65, 0.3, 3, 0.68, 0.6, 0),
            (0.65, 0.3, 2, 0.68, 0.5, 0),
            (0.65, 0.3, 1, 0.65, 1.5, 1),
            (0.67, 0.4, 1, 0.65, 1.5, 1),
        ),
    }

    def perturb_colours(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Add drops; one random field for each image."""
        height, width = images.shape[-2:]
        spatter = SpatterConstants._make(cast("tuple[float, ...]", self.severity_constants(images.shape)))
        noise = rng.normal16(ids, (height, width), seed=seed, label=self.name)
        layer = spatter.mean + spatter.deviation * smooth(noise, spatter.sigma, border="nearest")
        if spatter.mud:
            mask = smooth((layer > spatter.threshold).float(), spatter.strength, border="nearest")
            mask = torch.where(mask < 0.8, 0, mask)
            return self.to_levels(images * (1 - mask[:, None]) + tinted(mask, MUD))
        liquid = torch.where(layer < spatter.threshold, 0, layer)
        mask = liquid * apply_in_blocks((255 * liquid).clamp(0, 255).to(torch.uint8), relief)
        highest = mask.amax((1, 2), keepdim=True)
        return self.to_levels(images + tinted(mask / torch.where(highest > 0, highest, 1) * spatter.strength, WATER))


def tinted(mask: Tensor, colour: tuple[float, ...]) -> Tensor:
    """Mask (B, H, W) times a colour of three levels, (B, 3, H, W)."""
    return mask[:, None] * torch.tensor(colour, device=mask.device).view(3, 1, 1)
