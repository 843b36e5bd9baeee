"""Geometric shapes: triangles, squares, circles and stars over the image."""

from typing import ClassVar, cast

import torch
from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.stressors.corruptions.corruption import Corruption
from robustbench_wb.stressors.corruptions.fields import in_blocks
from robustbench_wb.stressors.corruptions.painting import SIDE, repeated, scaled, topmost
from robustbench_wb.stressors.corruptions.shape_masks import STAR, TURNS, shape_masks

SIZES = tuple(range(6, 16))
"""Sizes of shapes in pixels, in an image of 224."""


class GeometricShapes(Corruption):
    """Filled shapes of random kinds, places, sizes, angles and colours, one over the other (Li et al. 2025, LAION-C).

    In images of other sizes than 224, the sizes of shapes are scaled, to 2 pixels at least, and the number of shapes is
    such that their areas sum up to the same share of the image. Only stars are turned. A star has the same pixels
    everywhere; in the original, rounding moves some corners by a pixel, depending on the place.
    """

    name: ClassVar[str] = "geometric-shapes"
    fidelity = "D"
    constants: ClassVar = dict.fromkeys((32, 64, 224), (150, 300, 600, 800, 1000))  # number in an image of 224 pixels

    def perturb(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Draw the shapes; for each one, draws of the kind, the row, the column, the size, the angle and the colour."""
        channels, height, width = images.shape[1:]
        masks = shape_masks(tuple(scaled(size, min(height, width), least=2) for size in SIZES))
        share = cast("int", self.severity_constants(images.shape)) * shape_masks(SIZES).mean_area / SIDE**2
        number = round(share * height * width / masks.mean_area)
        rows, columns, starts, counts = (part.to(images.device) for part in masks[:4])

        def draw(some: Tensor, numbers: Tensor) -> Tensor:
            draws = rng.uniform(numbers, (number, 5 + channels), seed=seed, label=self.name)
            scales = torch.tensor([STAR + 1, height, width, len(SIZES), TURNS], device=some.device)
            kind, row, column, size, turn = (draws[..., :5] * scales).long().flatten(0, 1).unbind(1)
            shape = torch.where(kind < STAR, kind * len(SIZES) + size, STAR * len(SIZES) + size * TURNS + turn)
            owner, rank = repeated(counts[shape])
            pixel = starts[shape][owner] + rank
            last = topmost(
                (len(some), height, width),
                image=owner // number,
                row=row[owner] + rows[pixel],
                column=column[owner] + columns[pixel],
                number=owner % number,
            )
            colours = (256 * draws[..., 5:]).to(torch.uint8).transpose(1, 2)
            places = last.clamp(min=0).flatten(1)[:, None].expand(-1, channels, -1)
            return torch.where(last[:, None] >= 0, colours.gather(2, places).view(some.shape), some)

        return in_blocks(images, ids, draw)
