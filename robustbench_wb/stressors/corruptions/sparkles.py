"""Sparkles: five bright points with rays."""

from typing import ClassVar, cast

import torch
from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.stressors.corruptions.corruption import Corruption
from robustbench_wb.stressors.corruptions.fields import in_blocks, numbers_of_images, pixel_grid
from robustbench_wb.stressors.corruptions.sparkle_rays import MOST_RAYS, ray_counts, ray_lengths, sparkle_light

COUNT = 5
"""Sparkles in an image."""


class Sparkles(Corruption):
    """255 - (255 - x) times the darkness 1 - light of each of five sparkles (Mintun, Kirillov & Xie 2021).

    The radius of a sparkle is c / 100 of the shorter side; a ray is at least one pixel long.
    """

    name: ClassVar[str] = "sparkles"
    fidelity = "E"
    constants: ClassVar = {
        32: (0.7, 3.5, 5.6, 6.3, 7.0),
        64: (0.7, 3.5, 5.6, 6.3, 7.0),
        224: (1.0, 2.0, 3.0, 5.0, 6.0),
    }

    def perturb(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Add the sparkles; three draws for each (row, column, number of rays), at step 1 the lengths of rays."""
        height, width = images.shape[-2:]
        radius = cast("float", self.severity_constants(images.shape)) / 100 * min(height, width)
        rows, columns = pixel_grid(images)

        def add(some: Tensor, numbers: Tensor) -> Tensor:
            draws = rng.uniform(numbers, (COUNT, 3), seed=seed, label=self.name)
            normal = rng.normal16(numbers, (COUNT, MOST_RAYS), seed=seed, label=self.name, step=1)
            lengths = ray_lengths(normal, radius).clamp(min=1)
            dark = torch.ones((len(some), height, width), dtype=torch.float64, device=some.device)
            for sparkle in range(COUNT):
                row, column, count = numbers_of_images(draws[:, sparkle])
                right, down = columns - column * width, rows - row * height
                rays = ray_counts(count)
                dark *= 1 - sparkle_light(right, down, rays=rays, lengths=lengths[:, sparkle], exponent=1)
            return self.to_levels(255 - (255 - some.double()) * dark[:, None])

        return in_blocks(images, ids, add)
