"""Snow: moving flakes over a paler image."""

import math
from typing import ClassVar, NamedTuple, cast

import torch
from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.stressors.corruptions.corruption import Corruption
from robustbench_wb.stressors.corruptions.line_blur import motion_blur
from robustbench_wb.stressors.corruptions.zoom_blur import neighbours, zoomed


class SnowConstants(NamedTuple):
    """Constants of one severity."""

    mean: float
    """Mean of the random flakes."""
    deviation: float
    """Standard deviation of the random flakes."""
    zoom: float
    """Factor by which flakes are enlarged."""
    threshold: float
    """Flakes below it are set to 0."""
    radius: int
    """Radius of the motion blur in pixels."""
    sigma: float
    """Standard deviation of the motion blur in pixels."""
    weight: float
    """Weight a of the image."""


class Snow(Corruption):
    """a x + (1 - a) max(x, 1.5 grey(x) + 0.5) + flakes + flakes rotated by 180 degrees (Hendrycks & Dietterich 2019).

    Flakes are N(m, s^2), enlarged, set to 0 below a threshold, quantised to 8 bits, and blurred along a line between
    -135 and -45 degrees. An image of one channel is its own grey.
    """

    name: ClassVar[str] = "snow"
    fidelity = "E"
    constants: ClassVar = {  # in the order of SnowConstants
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
        """Add snow; step 0 of the draws makes the flakes, step 1 the angle."""
        height, width = images.shape[-2:]
        snow = SnowConstants._make(cast("tuple[float, ...]", self.severity_constants(images.shape)))
        (rows, tall), (columns, wide) = zoomed(height, snow.zoom), zoomed(width, snow.zoom)
        layer = snow.mean + snow.deviation * rng.normal16(ids, (rows, columns), seed=seed, label=self.name)
        layer = stretch(stretch(layer, dim=1, size=tall, side=height), dim=2, size=wide, side=width)
        flakes = self.to_levels(255 * torch.where(layer < snow.threshold, 0, layer))[:, None].float()
        angles = -math.pi / 4 - rng.uniform(ids, (), seed=seed, label=self.name, step=1).double() * (math.pi / 2)
        flakes = motion_blur(flakes, angles, radius=snow.radius, sigma=snow.sigma)
        values = images.float()
        pale = snow.weight * values  # a x + (1 - a) max(x, g) = max(x, a x + (1 - a) g)
        pale += (1 - snow.weight) * (1.5 * grey(values) + 127.5)
        torch.maximum(pale, values, out=pale)
        pale += flakes + flakes.flip(2, 3)
        return self.to_levels(pale)


def grey(values: Tensor) -> Tensor:
    """Luma (ITU-R BT.601) of three channels, or the single channel: (B, C, H, W) to (B, 1, H, W)."""
    if values.shape[1] == 1:
        return values
    red, green, blue = values.unbind(1)
    return (0.299 * red + 0.587 * green + 0.114 * blue)[:, None]


def stretch(fields: Tensor, *, dim: int, size: int, side: int) -> Tensor:
    """Enlarge one dimension of (B, h, w) to ``size`` pixels, bilinear with aligned corners; keep the central ``side``
    pixels.

    Equals ``scipy.ndimage.zoom`` of order 1, trimmed.
    """
    crop = fields.shape[dim]
    low, rest = neighbours(side, crop, size)
    part = torch.from_numpy(rest).to(fields.device, fields.dtype)
    part = part[:, None] if dim == 1 else part
    below, above = (torch.from_numpy(low + step).clamp(max=crop - 1).to(fields.device) for step in (0, 1))
    return fields.index_select(dim, below) * (1 - part) + fields.index_select(dim, above) * part
