"""Generated textures that stand for small photographs."""

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from robustbench_wb import rng
from robustbench_wb.stressors.corruptions.fog import plasma

COUNT = 256
"""Number of textures."""
SIDE = 64
"""Side in pixels of a texture before it is scaled."""
CONTRAST = 128.0
"""Largest distance in levels of a pixel from the mean of its picture."""


@lru_cache(maxsize=16)
def photo_textures(side: int) -> Tensor:
    """Textures from -1 to 1 with the mean 0 in each colour, float32 (COUNT, 3, side, side).

    Shrinking lowers their contrast, as it does in photographs.
    """
    pictures = interpolate(_pictures(), (side, side), mode="area")
    return pictures - pictures.mean((2, 3), keepdim=True)


@lru_cache(maxsize=1)
def _pictures() -> Tensor:
    """Textures before they are scaled, float32 (COUNT, 3, SIDE, SIDE).

    A texture is a random cloud of all scales, as photographs are (amplitude in proportion to 1 / frequency^2), with
    colours that mostly go together, and with an object: one side of a threshold of another cloud is brighter.
    """
    numbers = torch.arange(COUNT)
    draws = 2 * rng.uniform(numbers, (5, SIDE, SIDE), seed=0, label="photo textures") - 1
    clouds = plasma(draws.flatten(0, 1), 2.0).view(COUNT, 5, SIDE, SIDE)
    inside = (clouds[:, 4] > clouds[:, 4].flatten(1).median(1).values[:, None, None]).float()
    pictures = clouds[:, :3] + 2 * clouds[:, 3:4] + inside[:, None]
    pictures = pictures - pictures.mean((2, 3), keepdim=True)
    return pictures / pictures.abs().amax((1, 2, 3), keepdim=True)


def tinted_textures(means: Tensor, textures: Tensor) -> Tensor:
    """Pictures of the given mean colours on the scale 0..255, with as much contrast as fits: means plus textures.

    Args:
        means: float32 from 0 to 255.
        textures: values from -1 to 1, float32, of the shape of the means.
    """
    return means + textures * torch.minimum(means, 255 - means).clamp(max=CONTRAST)
