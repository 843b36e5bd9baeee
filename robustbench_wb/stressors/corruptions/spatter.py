"""Spatter: drops of water or mud on the lens."""

from typing import ClassVar, NamedTuple, cast

import torch
from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.stressors.corruptions.colour_corruption import ColourCorruption
from robustbench_wb.stressors.corruptions.drop_relief import relief
from robustbench_wb.stressors.corruptions.filters import cache_blocks
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
        mask = mud(layer, spatter) if spatter.mud else water(layer, spatter)
        found = torch.empty_like(images)
        for rows in cache_blocks(images):
            values, drops = images[rows], mask[rows, None]
            found[rows] = self.to_levels(
                values * (1 - drops) + tinted(drops, MUD) if spatter.mud else values + tinted(drops, WATER)
            )
        return found


def mud(layer: Tensor, spatter: SpatterConstants) -> Tensor:
    """Share of mud in each pixel, 0 or at least 0.8, from the random field: float32 (B, H, W)."""
    mask = smooth((layer > spatter.threshold).float(), spatter.strength, border="nearest")
    return torch.where(mask < 0.8, 0, mask)


def water(layer: Tensor, spatter: SpatterConstants) -> Tensor:
    """Weight of the colour of water in each pixel from the random field: float32 (B, H, W)."""
    liquid = torch.where(layer < spatter.threshold, 0, layer)
    mask = liquid * relief((255 * liquid).clamp(0, 255).to(torch.uint8))
    highest = mask.amax((1, 2), keepdim=True)
    return mask / torch.where(highest > 0, highest, 1) * spatter.strength


def tinted(mask: Tensor, colour: tuple[float, ...]) -> Tensor:
    """Mask (B, 1, H, W) times a colour of three levels, (B, 3, H, W)."""
    return mask * torch.tensor(colour, device=mask.device).view(3, 1, 1)
