"""What noises of single pixel values share: a level and a random code give a level, so all of them fit in a table."""

from abc import abstractmethod
from functools import lru_cache
from typing import ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.stressors.corruptions.corruption import Corruption, Fidelity


class PointNoise(Corruption):
    """Base of noises that draw every pixel value by itself; a subclass writes the quantiles of one level.

    A value draws one of 65,536 equally likely codes. The 256 x 65,536 outcomes are worked out once: no arithmetic is
    left for a batch or a device to do in its own way. A probability is a multiple of 2^-16.
    """

    fidelity: ClassVar[Fidelity] = "D"

    @abstractmethod
    def quantiles(self, level: int, amount: float) -> NDArray[np.float64]:
        """What a level may become, on the scale 0..255 and not yet rounded: one value for each code, (65536,)."""

    def perturb(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """One look-up for each value."""
        table = _outcomes(self, cast("float", self.setting(*images.shape[-2:])), images.device)
        codes = rng.uniform16(ids, tuple(images.shape[1:]), seed, self.name)
        codes |= images.to(torch.int32) << 16
        return table.index_select(0, codes.flatten()).view(images.shape)


@lru_cache(maxsize=4)
def _outcomes(noise: PointNoise, amount: float, device: torch.device) -> Tensor:
    """uint8 (256 * 65536,): what code c makes of level v, at 65536 v + c."""
    rows = [noise.levels(torch.from_numpy(noise.quantiles(level, amount))) for level in range(256)]
    return torch.cat(rows).to(device)
