"""Attention with linear biases (Press et al. 2022, arXiv 2108.12409), in images as in CROMA (arXiv 2311.00566)."""

import torch
from torch import Tensor

from robustbench_wb.models.attention.biased import RowBias
from robustbench_wb.models.attention.places import PlacedAttention
from robustbench_wb.models.sockets import Context, Place


def slopes(heads: int) -> list[float]:
    """One slope per head: 2^(-8/H), 2^(-16/H), ..., 2^-8 where H is a power of two.

    Otherwise those of the next lower power of two, then every other one of twice that power (Press et al. 2022).
    """
    power = 1 << (heads.bit_length() - 1)
    first = [2.0 ** (-8.0 * (i + 1) / power) for i in range(power)]
    between = [2.0 ** (-4.0 * (i + 1) / power) for i in range(0, 2 * (heads - power), 2)]
    return first + between


class AlibiAttention(PlacedAttention):
    """``softmax(Q K^T / sqrt(p) - m_h |p_i - p_j|) V``, with a constant slope m_h per head; nothing is learned.

    The distance is Euclidean: |i - j| in texts, looking back and ahead alike; in images that between patches. Pairs
    with a token without a place get 0.
    """

    pairs_name = "distances"
    slopes: Tensor

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.register_buffer("slopes", torch.tensor(slopes(place.heads)), persistent=False)  # they follow from H

    @property
    def learned(self) -> Tensor:
        """The slopes, (H,), which are constants."""
        return self.slopes

    def pairs(self, offset: Tensor) -> Tensor:
        """Distances."""
        return offset.square().sum(dim=-1).sqrt()

    def logits(self, pairs: Tensor, learned: Tensor) -> Tensor:
        """(m, M) to (H, m, M)."""
        return (-learned[:, None, None] * pairs).to(self.qkv.weight.dtype)

    def position_logits(self, context: Context) -> Tensor | RowBias:
        """(1, H, N, N), the same for every layer and for every image of the batch.

        Raises:
            UsageError: the context holds no coordinates.
        """
        if "linear biases" in context.carry:
            return context.carry["linear biases"]
        logits = super().position_logits(context)
        if isinstance(logits, Tensor):
            context.carry["linear biases"] = logits
        return logits
