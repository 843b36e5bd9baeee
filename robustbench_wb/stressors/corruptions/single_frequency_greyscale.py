"""Single frequency: one grey sine wave added to the image."""

import math
from typing import ClassVar, cast

import torch
from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.stressors.corruptions.corruption import Corruption
from robustbench_wb.stressors.corruptions.fields import in_blocks, numbers_of_images, pixel_grid
from robustbench_wb.stressors.corruptions.tabulated import sine


class SingleFrequencyGreyscale(Corruption):
    """x + 19.6 c sin(u column + v row + phase), equal in all channels (Mintun, Kirillov & Xie 2021).

    One of u, v is uniform in (-pi, pi) radians per pixel, the other uniform between plus and minus its size. Constants
    at 32 and 64 pixels: every second one of the authors' scan of CIFAR-10, whose C-bar lacks this corruption.
    """

    name: ClassVar[str] = "single-frequency-greyscale"
    fidelity = "E"
    constants: ClassVar = {
        32: (0.3, 0.9, 1.5, 2.1, 2.7),
        64: (0.3, 0.9, 1.5, 2.1, 2.7),
        224: (1.0, 1.5, 2.0, 4.5, 5.0),
    }

    def perturb(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Add the wave; four draws per image: both frequencies, their order, and the phase."""
        strength = 19.6 * cast("float", self.severity_constants(images.shape))
        rows, columns = pixel_grid(images)

        def add(some: Tensor, numbers: Tensor) -> Tensor:
            draws = rng.uniform(numbers, (4,), seed=seed, label=self.name)
            first, second, order, phase = numbers_of_images(draws)
            large = (2 * first - 1) * math.pi
            small = (2 * second - 1) * large.abs()
            along, down = torch.where(order < 0.5, large, small), torch.where(order < 0.5, small, large)
            wave = sine(columns * along + rows * down + phase * math.tau)
            return self.to_levels(some + strength * wave[:, None])

        return in_blocks(images, ids, add)
