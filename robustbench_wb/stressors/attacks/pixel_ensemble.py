"""Ensemble of losses against all pixels of a segmentation model: the worst case of every image."""

from collections.abc import Callable
from typing import ClassVar, Final

import torch
from torch import Tensor

from robustbench_wb.models.segmentation_shape import VOID
from robustbench_wb.norms import LINF, Norm
from robustbench_wb.stressors.attacks.pixel_attack import PixelAttack
from robustbench_wb.stressors.attacks.pixel_pgd import segpgd_losses
from robustbench_wb.stressors.stressor import AttackKind


def jensen_shannon_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean Jensen-Shannon divergence (nats) of softmax and label over the counted pixels of each image, (B,).

    For the probability p of the label it is log 2 + (p log p - (1 + p) log(1 + p)) / 2. Unlike the cross-entropy it is
    bounded, so that wrong pixels stop to pull (Croce et al. 2023, arXiv 2306.12941).
    """
    counted = labels != VOID
    log_p = logits.log_softmax(1).gather(1, labels.clamp(min=0)[:, None])[:, 0]
    p = log_p.exp()
    divergence = torch.log(torch.tensor(2.0)) + (p * log_p - (1 + p) * torch.log1p(p)) / 2
    return (divergence * counted).flatten(1).sum(1) / counted.flatten(1).sum(1)


def masked_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the right pixels of each image, (B,), divided by all counted pixels (Croce et al. 2023)."""
    return segpgd_losses(logits, labels, 0.0)


class PixelEnsembleLinf(PixelAttack):
    """Runs of three losses in Linf, of which the worst image counts: SegPGD's, Jensen-Shannon and masked cross-entropy.

    The idea and two of the losses are those of the Segmentation Ensemble Attack (Croce et al. 2023, arXiv 2306.12941),
    which runs APGD with a falling radius; this one runs gradient steps of constant length.
    """

    name: ClassVar[str] = "pixel-ensemble-linf"
    norm: ClassVar[Norm] = LINF
    kind: ClassVar[AttackKind | None] = "ensemble"

    @property
    def runs(self) -> int:
        """Runs per image: restarts times losses."""
        return self.restarts * _COUNT

    def loss(self, logits: Tensor, *, labels: Tensor, run: int, step: int) -> Tensor:
        """Return the loss of a run; the losses take turns."""
        chosen = run % _COUNT
        if chosen == 0:
            return segpgd_losses(logits, labels, step / (2 * self.steps))
        return _OTHERS[chosen - 1](logits, labels)


_OTHERS: Final[tuple[Callable[[Tensor, Tensor], Tensor], ...]] = (jensen_shannon_losses, masked_losses)
_COUNT: Final = 1 + len(_OTHERS)
