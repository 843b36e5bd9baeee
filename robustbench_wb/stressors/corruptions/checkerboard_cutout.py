"""Checkerboard cutout: grey fields of a rotated checkerboard."""

import math
from typing import ClassVar, cast

import torch
from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.stressors.corruptions.corruption import Corruption
from robustbench_wb.stressors.corruptions.fields import in_blocks, numbers_of_images, pixel_grid
from robustbench_wb.stressors.corruptions.tabulated import cosine, sine


class CheckerboardCutout(Corruption):
    """A share c / 10 of the dark fields of a rotated checkerboard becomes grey (128) (Mintun, Kirillov & Xie 2021).

    A field is 0.1 to 0.25 of the shorter side wide. In mode ``reference``, fields on both sides of an axis share a
    draw, because the reference truncates their numbers toward 0.
    """

    name: ClassVar[str] = "checkerboard-cutout"
    fidelity = "E"
    constants: ClassVar = {
        32: (1.0, 2.0, 3.0, 4.0, 5.0),
        64: (1.0, 2.0, 3.0, 4.0, 5.0),
        224: (2.0, 3.0, 4.0, 5.0, 6.0),
    }

    def perturb(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Cut fields out; two draws per image (angle, width), at step 1 one draw for each field."""
        share = cast("float", self.severity_constants(images.shape)) / 10
        height, width = images.shape[-2:]
        reach = math.ceil(math.hypot(height, width) / max(1.0, 0.1 * min(height, width)))
        rows, columns = pixel_grid(images)

        def cut(some: Tensor, numbers: Tensor) -> Tensor:
            angle, size = numbers_of_images(rng.uniform(numbers, (2,), seed=seed, label=self.name))
            field = ((0.1 + 0.15 * size) * min(height, width)).clamp(min=1)
            sines, cosines = sine(angle * math.tau), cosine(angle * math.tau)
            down, along = (cosines * rows + sines * columns) / field, (cosines * columns - sines * rows) / field
            dark = (down.floor() + along.floor()) % 2 == 0
            if self.mode == "reference":
                down, along = down.trunc(), along.trunc()
            fields = rng.uniform(numbers, (2 * reach + 1, 2 * reach + 1), seed=seed, label=self.name, step=1)
            places = (down.floor().long() + reach) * (2 * reach + 1) + along.floor().long() + reach
            drawn = fields.flatten(1).gather(1, places.flatten(1)).view(places.shape) < share
            return torch.where((dark & drawn)[:, None], torch.tensor(128, dtype=torch.uint8, device=some.device), some)

        return in_blocks(images, ids, cut)
