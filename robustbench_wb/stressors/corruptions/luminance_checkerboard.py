"""Luminance checkerboard: squares that are brightened and darkened in turn."""

from typing import ClassVar, cast

import torch
from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.stressors.corruptions.corruption import Corruption
from robustbench_wb.stressors.corruptions.fields import in_blocks
from robustbench_wb.stressors.corruptions.painting import scaled

PIXELS = 14
"""Side of a square in pixels, in an image of 224."""


class LuminanceCheckerboard(Corruption):
    """x + d in the squares of even row + column, x - d in the others, with d uniform (Li et al. 2025, LAION-C).

    Each square draws its own d, in levels. The original shares the draws among the images of a batch. In images of
    other sizes than 224, the side of a square is scaled.
    """

    name: ClassVar[str] = "luminance-checkerboard"
    fidelity = "E"
    constants: ClassVar = dict.fromkeys((32, 64, 224), ((0, 50), (50, 100), (100, 125), (125, 150), (150, 255)))

    def perturb(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Change the brightness; one draw for each square."""
        low, high = cast("tuple[int, int]", self.severity_constants(images.shape))
        height, width = images.shape[-2:]
        side = scaled(PIXELS, min(height, width), least=1)
        down, along = (torch.arange(length, device=images.device) // side for length in (height, width))
        signs = 1 - 2 * ((down[:, None] + along) % 2)

        def change(some: Tensor, numbers: Tensor) -> Tensor:
            squares = (-(-height // side), -(-width // side))
            amounts = low + (high - low) * rng.uniform(numbers, squares, seed=seed, label=self.name)
            return self.to_levels(some + (signs * amounts[:, down][:, :, along])[:, None])

        return in_blocks(images, ids, change)
