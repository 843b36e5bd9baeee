"""Sequence of frames from dark to bright."""

from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor

from robustbench_wb.stressors.sequences.perturbation_sequence import PerturbationSequence, rounded

STEPS = {32: 0.015, 64: 0.02, 224: 0.02}
"""Brightness that is added from frame to frame, for each calibration."""


class BrightnessSequence(PerturbationSequence):
    """V' = V + c (frame - 15), clipped to [0, 1], in HSV; frame 15 is the clean image."""

    name: ClassVar[str] = "brightness-sequence"

    def frames(self, images: Tensor, ids: Tensor, seed: int) -> Iterator[Tensor]:
        """Yield the images from dark to bright; no random draws."""
        step = 255 * STEPS[self.calibration(images.shape)]
        value = images.amax(1, keepdim=True).float()
        for number in range(-15, 16):
            other = (value + step * number).clamp(0, 255)
            yield rounded(torch.where(value == 0, other, images * (other / value.clamp(min=1))))
