"""Perlin noise: a grey cloud of five octaves blended into the image."""

from typing import ClassVar, cast

import torch
from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.stressors.corruptions.corruption import Corruption
from robustbench_wb.stressors.corruptions.fields import in_blocks, pixel_grid

OCTAVES = 5
CELLS = 7
"""Cells of the coarsest lattice along the shorter side: 32 pixels each at 224."""
PERIOD = 256
"""Period of the lattice of gradients, in cells."""


class PerlinNoise(Corruption):
    """(1 - a) x + 255 a min(1, (1 + turbulence) / 2) with a = c / 20 (Mintun, Kirillov & Xie 2021).

    Turbulence is the sum of |noise| / f at the frequencies f = 1, 2, 4, 8 and 16 (Perlin 1985). Constants at 32 and 64
    pixels: every second one of the authors' scan of CIFAR-10, whose C-bar lacks this corruption. The reference can draw
    a gradient of length 0, which is NaN in about one image of a thousand; here no gradient is 0.
    """

    name: ClassVar[str] = "perlin-noise"
    fidelity = "E"
    constants: ClassVar = {
        32: (4.6, 5.8, 7.0, 8.2, 9.4),
        64: (4.6, 5.8, 7.0, 8.2, 9.4),
        224: (4.6, 5.2, 5.8, 7.6, 8.8),
    }

    def perturb(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Add the cloud; step 0 of the draws makes the gradients, step 1 their places in the lattice."""
        alpha = cast("float", self.severity_constants(images.shape)) / 20
        rows, columns = (places * (CELLS / min(images.shape[-2:])) for places in pixel_grid(images))

        def add(some: Tensor, numbers: Tensor) -> Tensor:
            codes = rng.uniform16(numbers, (PERIOD, 2), seed=seed, label=self.name)
            gradients = (codes.double() + 0.5) / (rng.CODES // 2) - 1
            gradients /= gradients.square().sum(2, keepdim=True).sqrt()
            order = rng.words(numbers, PERIOD, seed=seed, label=self.name, step=1).argsort(dim=1, stable=True)
            turbulence = torch.zeros((len(some), *some.shape[2:]), dtype=torch.float64, device=some.device)
            for octave in range(OCTAVES):
                noise = perlin(rows * 2**octave, columns * 2**octave, order=order, gradients=gradients)
                turbulence += noise.abs() / 2**octave
            cloud = (0.5 + 0.5 * turbulence).clamp(0, 1)
            return self.to_levels((1 - alpha) * some + 255 * alpha * cloud[:, None])

        return in_blocks(images, ids, add)


def perlin(down: Tensor, along: Tensor, *, order: Tensor, gradients: Tensor) -> Tensor:
    """Gradient noise on a lattice of unit cells, 1.5 times Perlin's (1985), float64 (B, H, W).

    Args:
        down: float64 (H, 1), coordinates of the rows, at least 0.
        along: float64 (1, W), coordinates of the columns, at least 0.
        order: int64 (B, PERIOD), a permutation that hashes the lattice.
        gradients: float64 (B, PERIOD, 2), unit vectors (down, along).
    """
    top, left = down.floor(), along.floor()
    y, x = down - top, along - left

    def corner(below: int, right: int) -> Tensor:
        first = order[:, (top.long() + below) % PERIOD]
        places = (first + left.long() + right) % PERIOD
        chosen = order.gather(1, places.flatten(1))
        vectors = gradients.gather(1, chosen[:, :, None].expand(-1, -1, 2)).view(*places.shape, 2)
        return vectors[..., 0] * (y - below) + vectors[..., 1] * (x - right)

    fall, turn = y * y * (3 - 2 * y), x * x * (3 - 2 * x)
    before = corner(0, 0) + fall * (corner(1, 0) - corner(0, 0))
    after = corner(0, 1) + fall * (corner(1, 1) - corner(0, 1))
    return 1.5 * (before + turn * (after - before))
