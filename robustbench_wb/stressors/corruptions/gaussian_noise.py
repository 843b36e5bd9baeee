"""Gaussian noise: sensor noise in low light."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from robustbench_wb import rng
from robustbench_wb.stressors.corruptions.point_noise import PointNoise


class GaussianNoise(PointNoise):
    """x + N(0, c^2) for every value, with x and c on the scale 0..1 (Hendrycks & Dietterich 2019)."""

    name: ClassVar[str] = "gaussian-noise"
    constants: ClassVar = {
        32: (0.04, 0.06, 0.08, 0.09, 0.10),
        64: (0.04, 0.08, 0.12, 0.15, 0.18),
        224: (0.08, 0.12, 0.18, 0.26, 0.38),
    }

    def quantiles(self, level: int, amount: float) -> NDArray[np.float64]:
        """Quantiles of N(level, (255 c)^2), in levels, (65536,)."""
        return level + 255 * amount * rng.normal_codes().numpy().astype(np.float64)
