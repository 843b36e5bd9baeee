"""Glitched: bands of rows shifted sideways, a displaced colour, and black scan lines."""

from typing import ClassVar, cast

import torch
from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.stressors.corruptions.corruption import Corruption
from robustbench_wb.stressors.corruptions.fields import in_blocks
from robustbench_wb.stressors.corruptions.painting import scaled

MOST_BANDS = 20
"""Bands of the highest severity."""


class Glitched(Corruption):
    """2 c bands of rows rolled by up to c^2 / 100 of the width, and one channel rolled (Li et al. 2025, LAION-C).

    Every second row is black, at all severities. The formula is that of the package glitch_this 1.0.2. The original
    glitches all images in the same way (seed 1); here every image has its own draws. The channel is displaced by up to
    2 c pixels at 224, scaled at other sizes.
    """

    name: ClassVar[str] = "glitched"
    fidelity = "E"
    constants: ClassVar = dict.fromkeys((32, 64, 224), (2, 4, 5, 8, 10))

    def perturb(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Glitch the images; step 0 draws the bands (shift, first row, height), step 1 the channel's displacement."""
        level = cast("int", self.severity_constants(images.shape))
        channels, height, width = images.shape[1:]
        most, reach = int(level**2 / 100 * width), scaled(2 * level, min(height, width), least=1)
        rows, columns = (torch.arange(length, device=images.device) for length in (height, width))

        def glitch(some: Tensor, numbers: Tensor) -> Tensor:
            bands = rng.uniform(numbers, (MOST_BANDS, 3), seed=seed, label=self.name)[:, : 2 * level]
            shift = row_shifts(bands, rows, most)
            found = some.gather(3, ((columns - shift[:, :, None]) % width)[:, None].expand(some.shape))
            draws = rng.uniform(numbers, (3,), seed=seed, label=self.name, step=1)
            right, down = ((draws[:, axis] * (2 * reach + 1)).long() - reach for axis in (0, 1))
            channel = (draws[:, 2] * channels).long()
            own = some[torch.arange(len(some), device=some.device), channel]
            source = (rows - down[:, None]) % height
            # Only the row that was the first one is also displaced sideways.
            sideways = torch.where(source == 0, right[:, None], 0)
            moved = own.gather(1, source[:, :, None].expand(own.shape))
            moved = moved.gather(2, (columns - sideways[:, :, None]) % width)
            found = torch.where(
                (torch.arange(channels, device=some.device) == channel[:, None])[:, :, None, None],
                moved[:, None],
                found,
            )
            return found * (rows % 2 == 1)[:, None]

        return in_blocks(images, ids, glitch)


def row_shifts(bands: Tensor, rows: Tensor, most: int) -> Tensor:
    """Shift to the right of each row in pixels, int64 (B, H): that of the last band that covers it.

    Args:
        bands: draws in [0, 1) of the shift, the first row and the height of each band, (B, bands, 3).
        rows: 0 to H - 1.
        most: largest shift in either direction, in pixels.
    """
    height = len(rows)
    found = torch.zeros((len(bands), height), dtype=torch.int64, device=rows.device)
    for draws in bands.unbind(1):
        shift = (draws[:, :1] * (2 * most + 1)).long() - most
        first = (draws[:, 1:2] * (height + 1)).long()
        last = first + 1 + (draws[:, 2:] * (height // 4)).long()
        found = torch.where((rows >= first) & (rows < last) & (shift != 0), shift, found)
    return found
