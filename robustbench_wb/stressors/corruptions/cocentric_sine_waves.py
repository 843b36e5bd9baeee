"""Concentric waves: wavy rings around a random point, added to the image."""

from typing import ClassVar, cast

from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.stressors.corruptions.corruption import Corruption
from robustbench_wb.stressors.corruptions.fields import in_blocks, numbers_of_images, pixel_grid
from robustbench_wb.stressors.corruptions.tabulated import direction, sine


class CocentricSineWaves(Corruption):
    """x + 12.8 c (frac((r + a sin(f angle)) / w) - 1/2), equal in all channels (Mintun, Kirillov & Xie 2021).

    r and angle are polar coordinates around a random pixel; f is uniform in (0, 10), a and w in (0, side / 10) pixels.
    The name has the spelling of the benchmark. Constants at 32 and 64 pixels: every second one of the authors' scan of
    CIFAR-10, whose C-bar lacks this corruption.
    """

    name: ClassVar[str] = "cocentric-sine-waves"
    fidelity = "E"
    constants: ClassVar = {
        32: (0.5, 1.5, 2.5, 3.5, 4.5),
        64: (0.5, 1.5, 2.5, 3.5, 4.5),
        224: (3.0, 5.0, 8.0, 9.0, 10.0),
    }

    def perturb(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Add the rings; five draws per image: centre (x, y), f, a, w."""
        strength = 12.8 * cast("float", self.severity_constants(images.shape))
        height, width = images.shape[-2:]
        rows, columns = pixel_grid(images)

        def add(some: Tensor, numbers: Tensor) -> Tensor:
            draws = rng.uniform(numbers, (5,), seed=seed, label=self.name)
            x, y, frequency, amplitude, ring = numbers_of_images(draws)
            right, down = columns - x * width, rows - y * height
            sway = sine(direction(right, down) * 10 * frequency) * (amplitude * min(height, width) / 10)
            rings = ((right * right + down * down).sqrt() + sway) / ((ring + 2**-25) * min(height, width) / 10)
            return self.to_levels(some + strength * (rings - rings.floor() - 0.5)[:, None])

        return in_blocks(images, ids, add)
