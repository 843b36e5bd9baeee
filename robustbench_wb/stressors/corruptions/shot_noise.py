"""Shot noise: light arrives in whole photons."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import pdtr

from robustbench_wb import rng
from robustbench_wb.stressors.corruptions.point_noise import PointNoise


class ShotNoise(PointNoise):
    """Poisson(c x) / c for every value, with x on the scale 0..1: white is c photons (Hendrycks & Dietterich 2019)."""

    name: ClassVar[str] = "shot-noise"
    constants: ClassVar = {
        32: (500, 250, 100, 75, 50),
        64: (250, 100, 50, 30, 15),
        224: (60, 25, 12, 5, 3),
    }

    def quantiles(self, level: int, amount: float) -> NDArray[np.float64]:
        """Quantiles of Poisson(c level / 255) at the centres (code + 1/2) / 65536, in levels, (65536,)."""
        mean = amount * level / 255
        photons = np.arange(int(mean + 6 * np.sqrt(mean)) + 16)  # less than 2^-17 of the distribution lies beyond
        below = np.floor(pdtr(photons, mean) * rng.CODES + 0.5).astype(
            np.int64
        )  # code centres below the distribution function
        return np.repeat(photons * (255 / amount), np.diff(below, prepend=0))
