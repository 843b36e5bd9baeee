"""Glass blur: pixels swap places with neighbours."""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.stressors.corruptions.corruption import Corruption
from robustbench_wb.stressors.corruptions.filters import apply_in_blocks, gaussian_blur


class GlassBlur(Corruption):
    """Gaussian blur, a scan that moves every inner pixel by a few pixels, and the Gaussian blur again.

    Source: Hendrycks & Dietterich 2019. The scan runs from the lower right to the upper left; a pixel swaps places with
    the one at an offset drawn from {-d..d} in both directions. In mode ``reference`` the offset is drawn from
    {-d..d-1}, the scan lies one pixel further to the lower right, and the neighbour keeps its value.
    """

    name: ClassVar[str] = "glass-blur"
    fidelity = "E"
    constants: ClassVar = {  # standard deviation and d in pixels, scans
        32: ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
        64: ((0.1, 1, 1), (0.5, 1, 1), (0.6, 1, 2), (0.7, 2, 1), (0.9, 2, 2)),
        224: ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    }

    def perturb(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Blur the images; two draws for each pixel and scan."""
        sigma, reach, scans = cast("tuple[float, int, int]", self.severity_constants(images.shape))
        height, width = images.shape[-2:]
        front = wavefront(height, width, reach, inner=self.mode == "reference")
        blurred = self._blur(images, sigma).flatten(2)
        places = np.repeat(np.arange(height * width)[:, None], len(images), axis=1)
        for scan in range(scans):
            moves = self._moves(front, ids, reach=reach, width=width, seed=seed, scan=scan)
            move(places, front, moves.cpu().numpy(), swap=self.mode == "fixed")
        taken = torch.from_numpy(places).to(images.device).T[:, None].expand(-1, images.shape[1], -1)
        return self._blur(blurred.gather(2, taken).view(images.shape), sigma)

    def _blur(self, images: Tensor, sigma: float) -> Tensor:
        return apply_in_blocks(images, lambda block: self.to_levels(gaussian_blur(block, sigma)))

    def _moves(self, front: "Wavefront", ids: Tensor, *, reach: int, width: int, seed: int, scan: int) -> Tensor:
        """Offset of each cell to its swap partner, in flat cells: int64 (cells, B), in the order of the wavefront."""
        count = len(front.cells)
        choices = 2 * reach + (self.mode == "fixed")
        drawn = rng.uniform16(ids, (2, count), seed=seed, label=self.name, step=scan)
        offsets = ((drawn * choices) >> 16) - reach
        return (offsets[:, 0] * width + offsets[:, 1]).T.long()


@dataclass(frozen=True)
class Wavefront:
    """Cells of a scan in an order that can be processed in groups."""

    cells: NDArray[np.int64]
    """Flat indices, (cells,), group after group."""
    groups: tuple[slice, ...]
    """Slices of ``cells``. Cells of one group touch disjoint pixels."""


@lru_cache(maxsize=8)
def wavefront(height: int, width: int, reach: int, inner: bool) -> Wavefront:
    """Groups whose sequential processing equals the scan, from the lower right to the upper left, row by row.

    Cell (i, j) of the scan reads and writes within ``reach``, so it must follow the earlier cells within 2 reach. All
    of these have a smaller t = j + (2 reach + 1) i, and cells of equal t are farther apart than 2 reach.
    """
    first, last = (reach + 1, 0) if inner else (reach, -1)
    rows, columns = (
        torch.tensor(range(side - reach + last, first - 1, -1), dtype=torch.int64) for side in (height, width)
    )
    times = torch.arange(len(columns)) + (2 * reach + 1) * torch.arange(len(rows))[:, None]
    order = torch.argsort(times.flatten(), stable=True)
    cells = (rows[:, None] * width + columns).flatten()[order]
    ends = torch.bincount(times.flatten()).cumsum(0).tolist() if len(order) else []
    return Wavefront(cells.numpy(), tuple(slice(start, end) for start, end in zip([0, *ends], ends, strict=False)))


def move(places: NDArray[np.int64], front: Wavefront, moves: NDArray[np.int64], swap: bool) -> None:
    """One scan of ``places``, (cells of the image, B), in place: the source of each cell.

    A cell takes the value ``moves`` (cells of the scan, B) away; if ``swap``, the other cell gets its value in return.
    The groups are small, and numpy needs half of the time of torch for each.
    """
    flat, batch = places.reshape(-1), places.shape[1]
    here = front.cells[:, None] * batch + np.arange(batch)
    there = here + moves * batch
    for group in front.groups:
        near, far = here[group].reshape(-1), there[group].reshape(-1)
        found = flat[far]
        if swap:
            flat[far] = flat[near]
        flat[near] = found
