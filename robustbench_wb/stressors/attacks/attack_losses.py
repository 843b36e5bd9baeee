"""Losses that attacks maximise: functions of logits (B, K) and labels (B,), one number per sample, never averaged.

Every loss rises as a sample approaches an error. ``margin`` and the DLR losses are positive exactly for errors.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """-log softmax(z)_y. The gradient underflows for large logits: a model with scaled logits looks robust to it."""
    return F.cross_entropy(logits, labels, reduction="none")


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """max_{j != y} z_j - z_y (Carlini & Wagner 2017, f_6 without its floor): invariant to shifts of the logits."""
    true = logits.gather(1, labels[:, None])[:, 0]
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return others.amax(1) - true


def dlr(logits: Tensor, labels: Tensor) -> Tensor:
    """-(z_y - max_{j != y} z_j) / (z_(1) - z_(3)) (Croce & Hein 2020, eq. 6): invariant to scale and shift.

    z_(k) is the k-th largest logit. With two classes there is no third: z_(2) takes its place.
    """
    return margin(logits, labels) / _spread(logits, (min(3, logits.shape[1]),))


def targeted_dlr(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """-(z_y - z_t) / (z_(1) - (z_(3) + z_(4)) / 2) (Croce & Hein 2020, eq. 7); targets are (B,), not the label.

    With fewer than four classes the smallest logits that exist take the place of the missing ones.
    """
    count = logits.shape[1]
    true, target = logits.gather(1, labels[:, None])[:, 0], logits.gather(1, targets[:, None])[:, 0]
    return (target - true) / _spread(logits, (min(3, count), min(4, count)))


def _spread(logits: Tensor, ranks: tuple[int, ...]) -> Tensor:
    """Largest logit minus the mean of the logits at the given ranks (1 is the largest), (B,)."""
    ordered = logits.sort(dim=1, descending=True).values
    low = torch.stack([ordered[:, rank - 1] for rank in ranks]).mean(0)
    return ordered[:, 0] - low + 1e-12


LOSSES: dict[str, Loss] = {"ce": cross_entropy, "margin": margin, "dlr": dlr}
