"""Sequence of frames that are blurred along a turning line."""

import math
from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor

from robustbench_wb.stressors.corruptions.corruption import Calibration
from robustbench_wb.stressors.corruptions.line_blur import motion_blur
from robustbench_wb.stressors.sequences.perturbation_sequence import PerturbationSequence, rounded

BLURS = {32: (6, 1.8, 9), 64: (14, 3, 5), 224: (10, 3, 4)}
"""Radius and standard deviation in pixels, and degrees from frame to frame, for each calibration."""


class MotionBlurSequence(PerturbationSequence):
    """Motion blur whose direction turns by a constant angle until it is horizontal; no frame is the clean image."""

    name: ClassVar[str] = "motion-blur-sequence"
    counts: ClassVar[dict[Calibration, int]] = {32: 21, 64: 31, 224: 31}

    def frames(self, images: Tensor, ids: Tensor, seed: int) -> Iterator[Tensor]:
        """Yield the blurred images; no random draws."""
        radius, sigma, degrees = BLURS[self.calibration(images.shape)]
        for number in range(1 - self.count(images.shape), 1):
            angles = torch.full((len(images),), math.radians(number * degrees), dtype=torch.float64)
            yield rounded(motion_blur(images.float(), angles, radius=radius, sigma=sigma))
