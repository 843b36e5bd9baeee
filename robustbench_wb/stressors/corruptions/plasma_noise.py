"""Plasma: smooth coloured swirls blended into the image."""

import math
from typing import ClassVar, cast

import torch
from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.stressors.corruptions.colour_corruption import ColourCorruption
from robustbench_wb.stressors.corruptions.fields import in_blocks, numbers_of_images, pixel_grid
from robustbench_wb.stressors.corruptions.tabulated import cosine, sine

MOST_FOLDS = 6
"""Largest number of folds of the plane."""


class PlasmaNoise(ColourCorruption):
    """(1 - a) x + 255 a p with a = 6.4 c / 255 and p in [-1, 1] for each colour (Mintun, Kirillov & Xie 2021).

    The plane is folded 4 to 6 times by sines of growing frequency; the colours are sines of the folded coordinates.
    Constants at 32 and 64 pixels: every second one of the authors' scan of CIFAR-10, whose C-bar lacks this corruption.
    """

    name: ClassVar[str] = "plasma-noise"
    fidelity = "E"
    constants: ClassVar = {
        32: (0.7, 2.1, 3.5, 4.9, 6.3),
        64: (0.7, 2.1, 3.5, 4.9, 6.3),
        224: (4.75, 7.0, 8.5, 9.25, 10.0),
    }

    def perturb_colours(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Add the swirls; four draws per image: time, number of folds, sharpness, scale."""
        strength = 6.4 * cast("float", self.severity_constants(images.shape))
        side = min(images.shape[-2:])
        rows, columns = pixel_grid(images)

        def add(some: Tensor, numbers: Tensor) -> Tensor:
            draws = rng.uniform(numbers, (4,), seed=seed, label=self.name)
            time, folds, sharpness, scale = numbers_of_images(draws)
            scale = (0.075 + 0.125 * scale) * side
            time, folds, sharpness = 6 * math.pi * time, (4 + 3 * folds).floor(), 0.5 + 0.5 * sharpness
            colours = swirls(columns / scale, rows / scale, time=time, folds=folds, sharpness=sharpness)
            return self.to_levels((1 - strength / 255) * some + strength * colours)

        return in_blocks(images, ids, add)


def swirls(x: Tensor, y: Tensor, *, time: Tensor, folds: Tensor, sharpness: Tensor) -> Tensor:
    """Red, green and blue of the swirls in [-1, 1], float64 (B, 3, H, W).

    Args:
        x: columns in units of the scale, float64 (B, 1, W).
        y: rows in units of the scale, float64 (B, H, 1).
        time: shift of all phases, float64 (B, 1, 1).
        folds: number of folds, at most ``MOST_FOLDS``, float64 (B, 1, 1).
        sharpness: from 0.5 to 1; sharper folds shrink less, float64 (B, 1, 1).
    """
    frequency, slowing, shrinking = 1.0, 1.0, torch.ones_like(sharpness)
    for fold in range(MOST_FOLDS):
        first = cosine(y * frequency + time / slowing) / shrinking
        second = sine(x * frequency + time / slowing) / shrinking
        more = fold < folds
        x = x + more * (first - 0.3 * second)
        y = y + more * (second + 0.3 * first)
        frequency, slowing, shrinking = frequency * 1.93, slowing * 1.15, shrinking * (2.25 - sharpness)
    green = sine((x + y + sine(time)) * 0.5)
    return torch.stack([sine(x - time), green, sine(y + time)], 1)
