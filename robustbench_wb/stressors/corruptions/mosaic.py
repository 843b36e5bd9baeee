"""Mosaic: the image put together from small pictures."""

from typing import ClassVar, cast

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from robustbench_wb import rng
from robustbench_wb.stressors.corruptions.corruption import Corruption
from robustbench_wb.stressors.corruptions.fields import in_blocks
from robustbench_wb.stressors.corruptions.photo_textures import COUNT, photo_textures, tinted_textures


class Mosaic(Corruption):
    """Each square of the image replaced by a small picture of the same mean colour (Li et al. 2025, LAION-C).

    The original takes the one of about a million photographs whose mean is nearest. Here the pictures are generated
    (``photo_textures``), drawn at random and tinted to the mean of the square, as if there were a photograph of every
    colour; hence an approximation. LAION-C has constants at 224 pixels only; those of 32 and 64 are our own.
    """

    name: ClassVar[str] = "mosaic"
    fidelity = "A"
    constants: ClassVar = {  # side of a square in pixels
        32: (2, 3, 4, 6, 8),
        64: (2, 3, 4, 6, 10),
        224: (4, 6, 8, 16, 28),
    }

    def perturb(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Put the mosaics together; one draw for each square."""
        side = cast("int", self.severity_constants(images.shape))
        channels, height, width = images.shape[1:]
        down, along = (torch.arange(length, device=images.device) for length in (height, width))
        textures = photo_textures(side)[:, :channels].to(images.device)
        squares = (-(-height // side), -(-width // side))

        def put(some: Tensor, numbers: Tensor) -> Tensor:
            means = avg_pool2d(some.double(), side, ceil_mode=True, count_include_pad=False).float()
            chosen = (rng.uniform(numbers, squares, seed=seed, label=self.name) * COUNT).long()
            own = chosen[:, down // side][:, :, along // side]
            pixels = textures[own, :, (down % side)[:, None], along % side].permute(0, 3, 1, 2)
            return self.to_levels(tinted_textures(means[:, :, down // side][..., along // side], pixels))

        return in_blocks(images, ids, put)
