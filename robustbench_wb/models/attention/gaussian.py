"""Bilateral self-attention with the position kernel of the classical bilateral filter.

RECONSTRUCTED: it is unknown whether arXiv 2506.10371 uses this kernel. It is the position factor of Tomasi & Manduchi
1998, combined with the softmax kernel of content.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from robustbench_wb.models.attention.offset_bias import OffsetBiasAttention
from robustbench_wb.models.sockets import LayerConfig


class GaussianBilateralAttention(OffsetBiasAttention):
    """Gaussian bilateral attention ``softmax(logit_y + logit_p) V`` with ``logit_p = -|p_i - p_j|^2 / (2 h^2)``.

    The bandwidth h = softplus(theta) is learned per head. Distances are in image patches, or in words. Initial
    bandwidths go from ``near`` in the first head to ``far`` in the last, in equal ratios, so that narrow and wide heads
    exist from the start. Pairs with the class token have logit_p = 0.
    """

    pairs_name = "squared distances"

    def __init__(self, config: LayerConfig, *, near: float = 1.0, far: float = 16.0) -> None:
        super().__init__(config)
        share = torch.arange(config.heads) / max(config.heads - 1, 1)
        bandwidth = near * (far / near) ** share
        self.theta = nn.Parameter(bandwidth + torch.log(-torch.expm1(-bandwidth)))  # the inverse of softplus

    @property
    def learned(self) -> Tensor:
        """Parameter theta (H,) of the bandwidths."""
        return self.theta

    def pairs(self, offset: Tensor) -> Tensor:
        """Return squared distances (m, M) of offsets (m, M, axes)."""
        return offset.square().sum(dim=-1)

    def logits(self, pairs: Tensor, learned: Tensor) -> Tensor:
        """Return position logits (H, m, M) for squared distances (m, M)."""
        steepness = 0.5 / functional.softplus(learned).square()
        return -steepness[:, None, None] * pairs
