"""Stickers: small pictures pasted over the image."""

from typing import ClassVar, cast

import torch
from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.stressors.corruptions.corruption import Corruption
from robustbench_wb.stressors.corruptions.fields import in_blocks
from robustbench_wb.stressors.corruptions.painting import SIDE, scaled, topmost
from robustbench_wb.stressors.corruptions.photo_textures import COUNT, photo_textures, tinted_textures

PIXELS = 16
"""Side of a sticker in pixels, in an image of 224."""


class Stickers(Corruption):
    """Small square pictures at random places, one over the other (Li et al. 2025, LAION-C).

    The original pastes photographs of ImageNet, shrunk to 16 x 16 pixels. Here the pictures are generated
    (``photo_textures``) with random mean colours, hence an approximation. In images of other sizes than 224, the side
    of a sticker is scaled, to 4 pixels at least, and the number of stickers is such that they cover the same share of
    the image.
    """

    name: ClassVar[str] = "stickers"
    fidelity = "A"
    constants: ClassVar = dict.fromkeys((32, 64, 224), (100, 200, 400, 600, 1200))  # number in an image of 224 pixels

    def perturb(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Paste the stickers; for each one, draws of the picture, the row, the column and the mean colours."""
        channels, height, width = images.shape[1:]
        side = scaled(PIXELS, min(height, width), least=4)
        share = cast("int", self.severity_constants(images.shape)) * (PIXELS / SIDE) ** 2
        number = round(share * height * width / side**2)
        textures = photo_textures(side)[:, :channels].to(images.device)
        step = torch.arange(side, device=images.device)

        def paste(some: Tensor, numbers: Tensor) -> Tensor:
            draws = rng.uniform(numbers, (number, 3 + channels), seed=seed, label=self.name)
            chosen = (draws[..., 0] * COUNT).long()
            top, left = ((draws[..., 1 + axis] * (length - side)).long() for axis, length in ((0, height), (1, width)))
            grid = (len(some), number, side, side)
            last = topmost(
                (len(some), height, width),
                image=torch.arange(len(some), device=some.device)[:, None, None, None].expand(grid).flatten(),
                row=(top[:, :, None, None] + step[:, None]).expand(grid).flatten(),
                column=(left[:, :, None, None] + step).expand(grid).flatten(),
                number=torch.arange(number, device=some.device)[:, None, None].expand(grid).flatten(),
            )
            flat = last.clamp(min=0).flatten(1)
            rows = torch.arange(height, device=some.device)[:, None] - top.gather(1, flat).view(last.shape)
            columns = torch.arange(width, device=some.device) - left.gather(1, flat).view(last.shape)
            owner = chosen.gather(1, flat).view(last.shape)
            pixels = textures[owner, :, rows.clamp(0, side - 1), columns.clamp(0, side - 1)].permute(0, 3, 1, 2)
            means = 255 * draws[..., 3:].transpose(1, 2).gather(2, flat[:, None].expand(-1, channels, -1))
            pasted = self.to_levels(tinted_textures(means.view(some.shape), pixels))
            return torch.where(last[:, None] >= 0, pasted, some)

        return in_blocks(images, ids, paste)
