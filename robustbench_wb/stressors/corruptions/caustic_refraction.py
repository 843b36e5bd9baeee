"""Caustic refraction: the image seen through moving water."""

from typing import ClassVar, cast

import torch
from torch import Tensor
from torch.nn.functional import pad

from robustbench_wb import rng
from robustbench_wb.stressors.corruptions.corruption import Corruption
from robustbench_wb.stressors.corruptions.fields import bilinear, in_blocks, numbers_of_images, pixel_grid
from robustbench_wb.stressors.corruptions.smoothing import smooth
from robustbench_wb.stressors.corruptions.tabulated import cosine, power, sine

ETA = 4.0
"""Refractive index of the water."""
FLAT = 0.999
"""Cosine of the slope of the water from which on light passes straight."""


class CausticRefraction(Corruption):
    """Pixels displaced and lit by the slopes of a caustic pattern on water (Mintun, Kirillov & Xie 2021).

    The lens moves by c / 20 of the shorter side times the refraction of the slope, and light of c / 5 times the slopes
    is added. The outside of the image is black. Constants at 32 and 64 pixels: every second one of the authors' scan of
    CIFAR-10, whose C-bar lacks this corruption.
    """

    name: ClassVar[str] = "caustic-refraction"
    fidelity = "E"
    constants: ClassVar = {
        32: (1.4, 2.2, 3.0, 3.8, 4.6),
        64: (1.4, 2.2, 3.0, 3.8, 4.6),
        224: (2.35, 3.2, 4.9, 6.6, 9.15),
    }

    def perturb(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Refract the images; two draws per image: time and scale of the pattern."""
        strength = cast("float", self.severity_constants(images.shape))
        side = min(images.shape[-2:])
        rows, columns = pixel_grid(images)

        def refract(some: Tensor, numbers: Tensor) -> Tensor:
            time, scale = numbers_of_images(rng.uniform(numbers, (2,), seed=seed, label=self.name))
            scale = (0.75 + 0.5 * scale) * side
            water = caustics(rows / scale, columns / scale, time=0.5 + 1.5 * time)
            framed = pad(smooth(water.float(), 1.0, border="reflect").double(), (1, 1, 1, 1))
            down = framed[:, 2:, 1:-1] - framed[:, :-2, 1:-1]
            along = framed[:, 1:-1, 2:] - framed[:, 1:-1, :-2]
            bend = bending(down, along) * (strength * side / 20)
            found = bilinear(some.double(), rows + bend * down, columns + bend * along)
            return self.to_levels(found + 51 * strength * (down - along)[:, None])

        return in_blocks(images, ids, refract)


def caustics(y: Tensor, x: Tensor, *, time: Tensor) -> Tensor:
    """Brightness of the pattern from 0 to 1, float64 (B, H, W).

    Args:
        y: rows in units of the pattern's period, float64 (B, H, 1).
        x: columns in units of the pattern's period, float64 (B, 1, W).
        time: float64 (B, 1, 1).
    """
    first, second = ((part - part.floor()) * 6.28318530718 - 250 for part in (y, x))
    u, v = first, second
    total = torch.ones_like(first + second)
    for wave in range(5):
        t = time * (1 - 3.5 / (wave + 1))
        u, v = first + cosine(t - u) + sine(t + v), second + sine(t - v) + cosine(t + u)
        up, side = sine(u + t), cosine(v + t)
        length = ((first * side).square() + (second * up).square()).sqrt()
        # 1 / |(first / up, second / side)|, where no divisor is 0.
        total = total + (up * side).abs() / torch.where(length > 0, length, 1) / 0.005
    dark = (1.17 - power(total / 5, 1.4)).square()
    return (dark * dark).square().clamp(0, 1)


def bending(down: Tensor, along: Tensor) -> Tensor:
    """Displacement per slope of the ray that the water refracts (Snell's law), of the shape of the slopes.

    With the unit normal n = (down, along, 1) / length at an angle a to the ray, the refracted ray in the reference is
    n (cos b - cos a sin b / sin a) + e, where sin b = sin a / ETA and e is parallel to the incoming ray.
    """
    length = (down * down + along * along + 1).sqrt()
    cosines = 1 / length
    squared = 1 - cosines * cosines
    found = ((1 - squared / ETA**2).clamp(min=0).sqrt() - cosines / ETA) / length
    return torch.where(cosines >= FLAT, 0, found)
