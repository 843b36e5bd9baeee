"""Bilateral self-attention with the position kernel of the classical bilateral filter.

RECONSTRUCTED: whether arXiv 2506.10371 prints this kernel is unknown. It is the position factor of Tomasi & Manduchi
1998, beside the softmax kernel of content.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from robustbench_wb.models.attention.places import neutral, offsets
from robustbench_wb.models.attention.softmax import SoftmaxAttention
from robustbench_wb.models.sockets import Context, Place


class GaussianBilateralAttention(SoftmaxAttention):
    """``softmax(logit_y + logit_p) V`` with ``logit_p = -|p_i - p_j|^2 / (2 h^2)``, h = softplus(theta) per head.

    Distances are in patches of an image, or in words. The bandwidths h start from ``near`` in the first head to
    ``far`` in the last, in equal ratios, so that there are narrow and wide heads from the start. Without a place:
    logit_p = 0.
    """

    position = "none"

    def __init__(self, place: Place, near: float = 1.0, far: float = 16.0) -> None:
        super().__init__(place)
        share = torch.arange(place.heads) / max(place.heads - 1, 1)
        bandwidth = near * (far / near) ** share
        self.theta = nn.Parameter(bandwidth + torch.log(-torch.expm1(-bandwidth)))  # the inverse of softplus

    def position_logits(self, context: Context) -> Tensor:
        """(1, H, N, N), the same for every image of the batch.

        Raises:
            UsageError: the context holds no coordinates.
        """
        if "squared distances" not in context.carry:
            context.carry["squared distances"] = offsets(context).square().sum(dim=-1)
        steepness = 0.5 / functional.softplus(self.theta).square()
        return neutral(-steepness[:, None, None] * context.carry["squared distances"], context)[None]
