"""Base of colour corruptions: an image of one channel is processed as a grey image with three."""

from abc import abstractmethod

import torch
from torch import Tensor

from robustbench_wb.stressors.corruptions.corruption import Corruption


class ColourCorruption(Corruption):
    """Base of corruptions that need red, green and blue. One channel is expanded to three and returned as luma."""

    def perturb(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Perturb the colours; images of one channel get the luma (ITU-R BT.601) of the result."""
        if images.shape[1] == 1:
            return luma(self.perturb_colours(images.expand(-1, 3, -1, -1), ids, seed))
        return self.perturb_colours(images, ids, seed)

    @abstractmethod
    def perturb_colours(self, images: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Perturb images of three channels, uint8 (B, 3, H, W), with sample ids, int64 (B,)."""


def luma(images: Tensor) -> Tensor:
    """0.299 R + 0.587 G + 0.114 B (ITU-R BT.601), rounded: uint8 (B, 3, H, W) to (B, 1, H, W)."""
    red, green, blue = images.to(torch.int32).unbind(1)
    return ((299 * red + 587 * green + 114 * blue + 500) // 1000).to(torch.uint8)[:, None]
