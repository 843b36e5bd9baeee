"""Blue noise sample: black pixels, spread evenly."""

from typing import ClassVar, cast

from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.stressors.corruptions.corruption import Corruption
from robustbench_wb.stressors.corruptions.fields import in_blocks
from robustbench_wb.stressors.corruptions.spectral_noise import spectral_noise


class BlueNoiseSample(Corruption):
    """Pixels become black where blue noise is not above 0.3 c - 2.5 (Mintun, Kirillov & Xie 2021).

    The amplitude of the noise grows in proportion to the frequency; its standard deviation is 1.
    """

    name: ClassVar[str] = "blue-noise-sample"
    fidelity = "E"
    constants: ClassVar = {
        32: (0.7, 1.4, 2.1, 3.5, 4.2),
        64: (0.7, 1.4, 2.1, 3.5, 4.2),
        224: (0.8, 1.6, 2.4, 4.0, 5.6),
    }

    def perturb(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Blacken pixels; the draws are the phases of the noise."""
        threshold = 0.3 * cast("float", self.severity_constants(images.shape)) - 2.5
        height, width = images.shape[-2:]

        def blacken(some: Tensor, numbers: Tensor) -> Tensor:
            phases = rng.uniform(numbers, (1, height, (width + 1) // 2), seed=seed, label=self.name)
            return some * (spectral_noise(phases, width, lambda distance: distance) > threshold)

        return in_blocks(images, ids, blacken)
