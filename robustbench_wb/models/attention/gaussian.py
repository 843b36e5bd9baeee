"""Bilateral self-attention with the position kernel of the classical bilateral filter.

RECONSTRUCTED: whether arXiv 2506.10371 prints this kernel is unknown. It is the position factor of Tomasi & Manduchi
1998, beside the softmax kernel of content.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from robustbench_wb.models.attention.places import PlacedAttention
from robustbench_wb.models.sockets import Place


class GaussianBilateralAttention(PlacedAttention):
    """``softmax(logit_y + logit_p) V`` with ``logit_p = -|p_i - p_j|^2 / (2 h^2)``, h = softplus(theta) per head.

    Distances are in patches of an image, or in words. The bandwidths h start from ``near`` in the first head to
    ``far`` in the last, in equal ratios, so that there are narrow and wide heads from the start. Without a place:
    logit_p = 0.
    """

    pairs_name = "squared distances"

    def __init__(self, place: Place, near: float = 1.0, far: float = 16.0) -> None:
        super().__init__(place)
        share = torch.arange(place.heads) / max(place.heads - 1, 1)
        bandwidth = near * (far / near) ** share
        self.theta = nn.Parameter(bandwidth + torch.log(-torch.expm1(-bandwidth)))  # the inverse of softplus

    @property
    def learned(self) -> Tensor:
        """theta, (H,)."""
        return self.theta

    def pairs(self, offset: Tensor) -> Tensor:
        """Squared distances."""
        return offset.square().sum(dim=-1)

    def logits(self, pairs: Tensor, learned: Tensor) -> Tensor:
        """(m, M) to (H, m, M)."""
        steepness = 0.5 / functional.softplus(learned).square()
        return -steepness[:, None, None] * pairs
