"""Base of noise on single pixel values: level and random code determine the new level, so a table holds all
outcomes."""

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
    """Base of noises that draw every pixel value independently; a subclass defines the quantiles of one level.

    Each value draws one of 65,536 equally likely codes. The 256 x 65,536 outcomes are computed once, so no arithmetic
    is left that could depend on the batch or the device. Probabilities are multiples of 2^-16.
    """

    fidelity: ClassVar[Fidelity] = "D"

    @abstractmethod
    def quantiles(self, level: int, amount: float) -> NDArray[np.float64]:
        """Outcomes of a level on the scale 0..255, not yet rounded: one value for each code, (65536,)."""

    def perturb(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Add noise; one table look-up for each value."""
        table = _outcomes(self, cast("float", self.severity_constants(images.shape)), images.device)
        codes = rng.uniform16(ids, tuple(images.shape[1:]), seed=seed, label=self.name)
        codes |= images.to(torch.int32) << 16
        return table.index_select(0, codes.flatten()).view(images.shape)


@lru_cache(maxsize=4)
def _outcomes(noise: PointNoise, amount: float, device: torch.device) -> Tensor:
    """Table of outcomes, uint8 (256 * 65536,): the result of code c at level v is at 65536 v + c."""
    rows = [noise.to_levels(torch.from_numpy(noise.quantiles(level, amount))) for level in range(256)]
    return torch.cat(rows).to(device)
