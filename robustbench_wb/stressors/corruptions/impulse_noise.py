"""Impulse noise: values that become black or white."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from robustbench_wb import rng
from robustbench_wb.stressors.corruptions.point_noise import PointNoise


class ImpulseNoise(PointNoise):
    """A share c of the values, channel by channel, becomes 0 or 1 with equal probability (Hendrycks & Dietterich
    2019)."""

    name: ClassVar[str] = "impulse-noise"
    constants: ClassVar = {
        32: (0.01, 0.02, 0.03, 0.05, 0.07),
        64: (0.01, 0.02, 0.05, 0.08, 0.14),
        224: (0.03, 0.06, 0.09, 0.17, 0.27),
    }

    def quantiles(self, level: int, amount: float) -> NDArray[np.float64]:
        """Outcomes of a level, (65536,): the lowest codes are black, the highest white."""
        found = np.full(rng.CODES, float(level))
        each = round(amount / 2 * rng.CODES)
        found[:each], found[rng.CODES - each :] = 0, 255
        return found
