"""Sequence of frames with independent noise."""

from collections.abc import Iterator
from typing import ClassVar

from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.stressors.sequences.perturbation_sequence import PerturbationSequence, rounded

DEVIATIONS = {32: 0.02, 64: 0.025, 224: 0.03}
"""Standard deviation of the noise for each calibration."""


class GaussianNoiseSequence(PerturbationSequence):
    """The clean image, then 30 frames with independent normal noise; predictions are compared with the clean one."""

    name: ClassVar[str] = "gaussian-noise-sequence"
    unordered = True

    def frames(self, images: Tensor, ids: Tensor, seed: int) -> Iterator[Tensor]:
        """Yield the image, then noisy ones; each frame has draws of its own step."""
        deviation = 255 * DEVIATIONS[self.calibration(images.shape)]
        yield images
        for number in range(1, self.count(images.shape)):
            noise = rng.normal16(ids, tuple(images.shape[1:]), seed=seed, label=self.name, step=number)
            yield rounded(images + deviation * noise)
