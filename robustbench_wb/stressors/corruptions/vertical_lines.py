"""Vertical lines: the image drawn by lines that bend where it is dark."""

from typing import ClassVar, cast

import torch
from torch import Tensor

from robustbench_wb.stressors.corruptions.corruption import Corruption
from robustbench_wb.stressors.corruptions.fields import in_blocks
from robustbench_wb.stressors.corruptions.painting import SIDE, repeated, scaled, topmost

BEND = 40
"""Displacement in pixels of a black point, in an image of 224."""


class VerticalLines(Corruption):
    """Vertical lines on black, displaced to the left by 40 (1 - brightness) pixels (Li et al. 2025, LAION-C).

    The image is divided into cells. Each cell continues the line of its column to its own displacement, in its mean
    colour; later lines are drawn over earlier ones. The numbers of lines, the height of a cell and the displacement are
    scaled with the side of the image. Lines are those of Pillow (Bresenham 1965), pixel for pixel.
    """

    name: ClassVar[str] = "vertical-lines"
    fidelity = "E"
    constants: ClassVar = dict.fromkeys(
        (32, 64, 224), ((224, 1), (178, 2), (112, 4), (84, 6), (60, 8))
    )  # lines, height

    def perturb(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Draw the lines; no random draws."""
        lines, tall = cast("tuple[int, int]", self.severity_constants(images.shape))
        channels, height, width = images.shape[1:]
        lines, step = scaled(lines, width, least=1), scaled(tall, height, least=1)
        # The same expressions of Python's floats as in the original decide which pixels belong to a cell.
        lefts = [number / lines * width for number in range(lines)]
        rights = [min(int(left + width / lines), width) for left in lefts]
        starts = torch.tensor(lefts, dtype=torch.float64, device=images.device)
        ends = torch.tensor(rights, device=images.device)
        tops = torch.arange(0, height, step, device=images.device)
        bottoms = (tops + step).clamp(max=height)

        def draw(some: Tensor, _: Tensor) -> Tensor:
            whole = torch.cat([some.long(), luminance(some)], 1)
            sums = torch.zeros((*whole.shape[:2], height + 1, width + 1), dtype=torch.int64, device=some.device)
            sums[:, :, 1:, 1:] = whole.cumsum(2).cumsum(3)
            columns = sums[..., ends] - sums[..., starts.long()]
            cells = columns[:, :, bottoms] - columns[:, :, tops]
            means = cells // ((bottoms - tops)[:, None] * (ends - starts.long()))
            # Lines first, (B, C + 1, lines, cells of a line): that is the order in which they are drawn.
            means = means.transpose(2, 3)
            bend = (1 - means[:, -1].double() / 255) * -(BEND * width / SIDE)
            x = (starts[:, None] + bend).trunc().long()
            last = drawn_lines(x, starts.long(), tops, shape=(len(some), height, width))
            places = last.clamp(min=0).flatten(1)[:, None].expand(-1, channels, -1)
            colours = means[:, :channels].flatten(2).gather(2, places).view(some.shape)
            return torch.where(last[:, None] >= 0, colours, 0).to(torch.uint8)

        return in_blocks(images, ids, draw)


def luminance(images: Tensor) -> Tensor:
    """Grey of Pillow: (19595 R + 38470 G + 7471 B + 2^15) / 2^16, rounded down, or the single channel, (B, 1, H, W)."""
    if images.shape[1] == 1:
        return images.long()
    red, green, blue = images.long().unbind(1)
    return ((19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16)[:, None]


def drawn_lines(x: Tensor, starts: Tensor, tops: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Number of the last cell whose line covers a pixel, -1 where there is none: int64 (B, H, W).

    The line of a cell begins where that of the cell above ends, and ends at column ``x`` in the top row of the cell.

    Args:
        x: columns, int64 (B, lines, cells of a line).
        starts: columns where the lines begin, int64 (lines,).
        tops: top rows of the cells, int64 (cells of a line,).
        shape: B, H, W.
    """
    before = torch.cat([starts[:, None].expand(len(x), -1, 1), x[..., :-1]], 2).flatten()
    above = torch.cat([tops[:1], tops[:-1]]).expand(x.shape).flatten()
    right, down = x.flatten() - before, tops.expand(x.shape).flatten() - above
    long = torch.maximum(right.abs(), down)
    owner, rank = repeated(long + 1)
    far = long[owner].clamp(min=1)

    def moved(distance: Tensor) -> Tensor:
        """Steps along one axis after ``rank`` points: all along the longer axis, Bresenham's along the other."""
        steps = (2 * distance.abs()[owner] * rank + far) // (2 * far)
        return torch.where(distance[owner] < 0, -steps, steps)

    cells = x.shape[1] * x.shape[2]
    return topmost(
        shape,
        image=owner // cells,
        row=above[owner] + moved(down),
        column=before[owner] + moved(right),
        number=owner % cells,
    )
