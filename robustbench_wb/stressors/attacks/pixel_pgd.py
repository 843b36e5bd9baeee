"""PGD and SegPGD on all pixels of a segmentation model."""

from typing import ClassVar

import torch
from torch import Tensor

from robustbench_wb.models.segmentation_shape import VOID
from robustbench_wb.norms import LINF, Norm
from robustbench_wb.stressors.attacks.pixel_attack import PixelAttack
from robustbench_wb.stressors.pixel_outcomes import image_losses, pixel_losses


def segpgd_losses(logits: Tensor, labels: Tensor, share: float) -> Tensor:
    """Cross-entropy of each image, (B,), in which right pixels weigh 1 - ``share`` and wrong ones ``share``.

    The sum is divided by the number of counted pixels, as in Gu et al. 2022 (arXiv 2207.12391), eq. 5.
    """
    right = logits.argmax(1) == labels
    weighted = torch.where(right, 1 - share, share) * pixel_losses(logits, labels)
    return weighted.flatten(1).sum(1) / (labels != VOID).flatten(1).sum(1)


class PixelPgdLinf(PixelAttack):
    """PGD in Linf on the mean cross-entropy of all pixels (Madry et al. 2018, eq. 3; Arnab et al. 2018)."""

    name: ClassVar[str] = "pixel-pgd-linf"
    norm: ClassVar[Norm] = LINF

    def loss(self, logits: Tensor, *, labels: Tensor, run: int, step: int) -> Tensor:
        """Return the mean cross-entropy of each image, (B,)."""
        return image_losses(logits, labels)


class SegPgdLinf(PixelAttack):
    """SegPGD in Linf (Gu et al. 2022, arXiv 2207.12391): right pixels first, wrong ones more and more.

    At step t of T, from 1, right pixels weigh 1 - lambda and wrong ones lambda = (t - 1) / (2 T).
    """

    name: ClassVar[str] = "segpgd-linf"
    norm: ClassVar[Norm] = LINF

    def loss(self, logits: Tensor, *, labels: Tensor, run: int, step: int) -> Tensor:
        """Return the weighted cross-entropy of each image, (B,)."""
        return segpgd_losses(logits, labels, step / (2 * self.steps))
