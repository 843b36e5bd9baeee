"""Snow: flakes in motion over a paler image."""

import math
from typing import ClassVar, cast

import torch
from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.stressors.corruptions.corruption import Corruption
from robustbench_wb.stressors.corruptions.motion import motion_blur
from robustbench_wb.stressors.corruptions.zoom_blur import neighbours, zoomed


class Snow(Corruption):
    """a x + (1 - a) max(x, 1.5 grey(x) + 0.5) + flakes + flakes turned by 180 degrees (Hendrycks & Dietterich 2019).

    Flakes are N(m, s^2) enlarged, set to 0 below a threshold, in 8 bits, and blurred along a line between -135 and -45
    degrees. An image of one channel is its own grey.
    """

    name: ClassVar[str] = "snow"
    fidelity = "E"
    constants: ClassVar = {  # mean and deviation of the flakes, zoom, threshold, radius and sigma of the blur, a
        32: (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
        64: (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.8),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.8),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.7),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.65),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.6),
        ),
        224: (
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
    }

    def perturb(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Step 0 of the draws makes the flakes, step 1 the angle."""
        height, width = images.shape[-2:]
        mean, deviation, zoom, threshold, radius, sigma, share = cast(
            "tuple[float, float, float, float, int, float, float]", self.setting(height, width)
        )
        (rows, tall), (columns, wide) = zoomed(height, zoom), zoomed(width, zoom)
        layer = mean + deviation * rng.normal16(ids, (rows, columns), seed, self.name)
        layer = stretch(stretch(layer, 1, tall, height), 2, wide, width)
        flakes = self.levels(255 * torch.where(layer < threshold, 0, layer))[:, None].float()
        angles = -math.pi / 4 - rng.uniform(ids, (), seed, self.name, 1).double() * (math.pi / 2)
        flakes = motion_blur(flakes, angles, radius, sigma)
        values = images.float()
        pale = share * values  # a x + (1 - a) max(x, g) = max(x, a x + (1 - a) g)
        pale += (1 - share) * (1.5 * grey(values) + 127.5)
        torch.maximum(pale, values, out=pale)
        pale += flakes + flakes.flip(2, 3)
        return self.levels(pale)


def grey(values: Tensor) -> Tensor:
    """Luma (ITU-R BT.601) of three channels, or the one channel there is: (B, C, H, W) to (B, 1, H, W)."""
    if values.shape[1] == 1:
        return values
    red, green, blue = values.unbind(1)
    return (0.299 * red + 0.587 * green + 0.114 * blue)[:, None]


def stretch(fields: Tensor, dim: int, size: int, side: int) -> Tensor:
    """One direction of (B, h, w) enlarged to ``size`` pixels, corners on corners, bilinear; the ``side`` in its centre.

    ``scipy.ndimage.zoom`` of order 1, trimmed.
    """
    crop = fields.shape[dim]
    low, rest = neighbours(side, crop, size)
    part = torch.from_numpy(rest).to(fields.device, fields.dtype)
    part = part[:, None] if dim == 1 else part
    below, above = (torch.from_numpy(low + step).clamp(max=crop - 1).to(fields.device) for step in (0, 1))
    return fields.index_select(dim, below) * (1 - part) + fields.index_select(dim, above) * part
