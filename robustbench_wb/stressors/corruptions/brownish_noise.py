"""Brownish noise: coarse coloured noise."""

from typing import ClassVar, cast

from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.stressors.corruptions.corruption import Corruption
from robustbench_wb.stressors.corruptions.fields import in_blocks
from robustbench_wb.stressors.corruptions.spectral_noise import spectral_noise


class BrownishNoise(Corruption):
    """x + 6.4 c n, n with the amplitude 1 / (1 + frequency^2) and the standard deviation 1 (Mintun et al. 2021).

    The noise of each channel is independent.
    """

    name: ClassVar[str] = "brownish-noise"
    fidelity = "E"
    constants: ClassVar = {
        32: (2.5, 4.0, 5.5, 6.5, 7.0),
        64: (2.5, 4.0, 5.5, 6.5, 7.0),
        224: (1.0, 2.0, 3.0, 4.0, 5.0),
    }

    def perturb(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Add the noise; the draws are its phases."""
        strength = 6.4 * cast("float", self.severity_constants(images.shape))
        channels, height, width = images.shape[1:]

        def add(some: Tensor, numbers: Tensor) -> Tensor:
            phases = rng.uniform(numbers, (channels, height, (width + 1) // 2), seed=seed, label=self.name)
            noise = spectral_noise(phases, width, lambda distance: 1 / (1 + distance**2))
            return self.to_levels(some + strength * noise)

        return in_blocks(images, ids, add)
