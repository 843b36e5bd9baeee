"""Speckle noise: noise in proportion to brightness."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from robustbench_wb import rng
from robustbench_wb.stressors.corruptions.point_noise import PointNoise


class SpeckleNoise(PointNoise):
    """x + x N(0, c^2) for every value, with x on the scale 0..1 (Hendrycks & Dietterich 2019)."""

    name: ClassVar[str] = "speckle-noise"
    constants: ClassVar = {
        32: (0.06, 0.10, 0.12, 0.16, 0.20),
        64: (0.15, 0.20, 0.25, 0.30, 0.35),
        224: (0.15, 0.20, 0.35, 0.45, 0.60),
    }

    def quantiles(self, level: int, amount: float) -> NDArray[np.float64]:
        """Quantiles of N(level, (level c)^2), in levels, (65536,)."""
        return level * (1 + amount * rng.normal_codes().numpy().astype(np.float64))
