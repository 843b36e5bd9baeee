"""Sequences of frames that are moved, turned, tilted and scaled. What comes from outside of the image is black."""

import math
from abc import abstractmethod
from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor

from robustbench_wb.stressors.corruptions.corruption import Calibration
from robustbench_wb.stressors.sequences.perturbation_sequence import PerturbationSequence, rounded
from robustbench_wb.stressors.sequences.warps import Matrix, rotation, scaling, tilt, translation, warped


class WarpSequence(PerturbationSequence):
    """Base of sequences whose frames are maps of the image; a subclass gives the map of a frame."""

    @abstractmethod
    def matrix(self, number: int, height: int, width: int) -> Matrix:
        """Map of frame ``number`` for images of height x width pixels."""

    def frames(self, images: Tensor, ids: Tensor, seed: int) -> Iterator[Tensor]:
        """Yield the moved images; no random draws."""
        for number in range(self.count(images.shape)):
            yield rounded(warped(images, self.matrix(number, images.shape[-2], images.shape[-1])))


class TranslateSequence(WarpSequence):
    """The image moves to the right by one pixel from frame to frame; at 32 pixels, frame 7 is the clean image."""

    name: ClassVar[str] = "translate-sequence"
    counts: ClassVar[dict[Calibration, int]] = {32: 16, 64: 31, 224: 41}

    def matrix(self, number: int, height: int, width: int) -> Matrix:
        """Translation from -7 to 8 pixels at 32, -15 to 15 at 64, -20 to 20 at 224."""
        return translation(number - (self.count((height, width)) - 1) // 2)


class RotateSequence(WarpSequence):
    """The image turns by one degree from frame to frame, from -15 to 15."""

    name: ClassVar[str] = "rotate-sequence"

    def matrix(self, number: int, height: int, width: int) -> Matrix:
        """Rotation about the centre."""
        return rotation(number - 15)


class TiltSequence(WarpSequence):
    """The view tilts about both axes: by 0.75 degrees from frame to frame at 32 pixels, by 1 at other sizes."""

    name: ClassVar[str] = "tilt-sequence"

    def matrix(self, number: int, height: int, width: int) -> Matrix:
        """Perspective view; frame 15 is the clean image."""
        degrees = 0.75 if self.calibration((height, width)) == 32 else 1.0
        return tilt(degrees * (number - 15), math.hypot(height, width))


class ScaleSequence(WarpSequence):
    """The image grows: from 0.7 to 1.3 in steps of 0.02 at 32 pixels, from 0.4 to 1.15 in steps of 0.025 at others."""

    name: ClassVar[str] = "scale-sequence"

    def matrix(self, number: int, height: int, width: int) -> Matrix:
        """Enlargement about the centre."""
        small = self.calibration((height, width)) == 32
        return scaling((70 + 2 * number) / 100 if small else (40 + 2.5 * number) / 100)


class ZoomBlurSequence(WarpSequence):
    """Frame k is the mean of the image enlarged by 1, 1.004, ..., 1 + 0.004 k; frame 0 is the clean image."""

    name: ClassVar[str] = "zoom-blur-sequence"

    def matrix(self, number: int, height: int, width: int) -> Matrix:
        """Enlargement about the centre, of the last image of the mean."""
        return scaling(1 + 0.004 * number)

    def frames(self, images: Tensor, ids: Tensor, seed: int) -> Iterator[Tensor]:
        """Yield the means over more and more enlargements; no random draws."""
        total = torch.zeros_like(images, dtype=torch.float64)
        for number in range(self.count(images.shape)):
            total = total + warped(images, self.matrix(number, images.shape[-2], images.shape[-1]))
            yield rounded(total / (number + 1))
