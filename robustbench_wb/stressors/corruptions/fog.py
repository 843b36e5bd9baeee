"""Fog: a random cloud of all scales blended into the image."""

from typing import ClassVar, cast

import torch
from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.stressors.corruptions.corruption import Corruption


class Fog(Corruption):
    """(x + c plasma) max(x) / (max(x) + c), with one plasma for all channels (Hendrycks & Dietterich 2019)."""

    name: ClassVar[str] = "fog"
    fidelity = "E"
    constants: ClassVar = {
        32: ((0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75)),
        64: ((0.4, 3.0), (0.7, 3.0), (1.0, 2.5), (1.5, 2.0), (2.0, 1.75)),
        224: ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4)),
    }

    def perturb(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Add fog; the side of the plasma map is the next power of two, and the map is cropped to the image."""
        height, width = images.shape[-2:]
        strength, decay = cast("tuple[float, float]", self.severity_constants(images.shape))
        side = 1 << (max(height, width, 2) - 1).bit_length()
        draws = 2 * rng.uniform(ids, (side, side), seed=seed, label=self.name) - 1
        cloud = plasma(draws, decay)[:, None, :height, :width]
        brightest = images.amax((1, 2, 3), keepdim=True).float()
        return self.to_levels((images + 255 * strength * cloud) * (brightest / (brightest + 255 * strength)))


def plasma(draws: Tensor, decay: float) -> Tensor:
    """Periodic diamond-square noise (Fournier, Fussell & Carpenter 1982), scaled to [0, 1], (B, n, n).

    Args:
        draws: (B, n, n) in [-1, 1), n a power of two: displacement of each point from the mean of its neighbours.
        decay: displacements shrink by its square from octave to octave.
    """
    heights = torch.zeros_like(draws)
    step, amplitude = draws.shape[-1], 1.0
    while step > 1:
        old, new = slice(0, None, step), slice(step // 2, None, step)
        corners = heights[:, old, old]
        above = corners + corners.roll(-1, 2)
        beside = corners + corners.roll(-1, 1)
        centres = (above + above.roll(-1, 1)) / 4 + amplitude * draws[:, new, new]
        heights[:, new, new] = centres
        heights[:, old, new] = (above + (centres + centres.roll(1, 1))) / 4 + amplitude * draws[:, old, new]
        heights[:, new, old] = (beside + (centres + centres.roll(1, 2))) / 4 + amplitude * draws[:, new, old]
        step, amplitude = step // 2, amplitude / decay**2
    lowest = heights.amin((1, 2), keepdim=True)
    return (heights - lowest) / (heights.amax((1, 2), keepdim=True) - lowest)
