"""Elastic transform: an affine map and a smooth random displacement."""

from typing import ClassVar, cast

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from robustbench_wb import rng
from robustbench_wb.stressors.corruptions.corruption import Corruption
from robustbench_wb.stressors.corruptions.smoothing import smooth

_EDGE = 244 / 224
"""Scale of the lengths at 224 pixels: the reference multiplies by 244 (its author's own comment says that 224 was
meant)."""


class ElasticTransform(Corruption):
    """Affine map that jitters three points, then a displacement of each pixel (Hendrycks & Dietterich 2019).

    The displacement is U(-1, 1) smoothed by a Gaussian (Simard, Steinkraus & Platt 2003). All lengths are shares of the
    shorter side of the image.
    """

    name: ClassVar[str] = "elastic-transform"
    fidelity = "E"
    constants: ClassVar = {  # displacement, sigma, jitter
        32: ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
        64: ((0, 0, 0.08), (0.05, 0.3, 0.06), (0.1, 0.08, 0.06), (0.1, 0.03, 0.03), (0.16, 0.03, 0.02)),
        224: tuple(
            (_EDGE * a, _EDGE * s, _EDGE * j)
            for a, s, j in ((2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02))
        ),
    }

    def perturb(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Transform the images; step 0 of the draws jitters the points, step 1 displaces the pixels."""
        height, width = images.shape[-2:]
        side = min(height, width)
        alpha, sigma, jitter = (
            side * part for part in cast("tuple[float, ...]", self.severity_constants(images.shape))
        )
        moves = (2 * rng.uniform(ids, (3, 2), seed=seed, label=self.name) - 1) * jitter
        x, y = affine(moves, height, width)
        found = sample(images.float(), x, y, repeat_edge=False)
        if alpha:
            codes = rng.uniform16(ids, (2, height, width), seed=seed, label=self.name, step=1)
            shifts = smooth((2 * codes + 1) / rng.CODES - 1, sigma, border="reflect", truncate=3)
            rows, columns = lattice(height, width, images.device)
            found = sample(found, columns + alpha * shifts[:, 0], rows + alpha * shifts[:, 1], repeat_edge=True)
        return self.to_levels(found)


def lattice(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Row (H, 1) and column (1, W) of every pixel, float32."""
    return torch.arange(height, device=device).float()[:, None], torch.arange(width, device=device).float()[None]


def affine(moves: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Source coordinates x and y, (B, H, W) each, of every pixel when three points of the image are moved.

    Args:
        moves: (B, 3, 2), x and y in pixels, of the points (centre + reach), (centre + (reach, -reach)) and
            (centre - reach); the reach is a third of the shorter side.
        height: of the image, in pixels.
        width: of the image, in pixels.
    """
    reach = float(min(height, width) // 3)
    start = torch.tensor([width // 2 + reach, height // 2 + reach], device=moves.device)
    first = moves[:, 1] - moves[:, 0] + torch.tensor([0, -2 * reach], device=moves.device)
    second = moves[:, 2] - moves[:, 0] - 2 * reach
    area = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    area = torch.where(area.abs() < 1e-3, 1e-3, area)[:, None, None]  # the map of collinear points has no inverse
    rows, columns = lattice(height, width, moves.device)
    x, y = columns - (start + moves[:, 0])[:, :1, None], rows - (start + moves[:, 0])[:, 1:, None]
    (ax, ay), (bx, by) = (edge[:, :, None, None].unbind(1) for edge in (first, second))
    # (x, y) = u first + v second; the image point is start + u (0, -2 reach) + v (-2 reach, -2 reach).
    u, v = (x * by - y * bx) / area, (y * ax - x * ay) / area
    return start[0] - 2 * reach * v, start[1] - 2 * reach * (u + v)


def sample(images: Tensor, x: Tensor, y: Tensor, repeat_edge: bool) -> Tensor:
    """Bilinear values of images (B, C, H, W) at pixel coordinates (B, H, W); the outside is mirrored.

    Args:
        images: float32 (B, C, H, W).
        x: columns, (B, H, W).
        y: rows, (B, H, W).
        repeat_edge: mirrored as ``dcba|abcd|dcba`` (SciPy's reflect); if not, as ``dcb|abcd|cba`` (reflect-101).
    """
    height, width = images.shape[-2:]
    if repeat_edge:
        grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], 3)
    else:
        grid = torch.stack([2 * x / max(1, width - 1) - 1, 2 * y / max(1, height - 1) - 1], 3)
    return grid_sample(images, grid, padding_mode="reflection", align_corners=not repeat_edge)
