"""Elliptical attention (Nielsen, Abdullaev, Teo, Nguyen, NeurIPS 2024, as implemented)."""

import torch
from torch import Tensor

from robustbench_wb.models.attention.base import attend
from robustbench_wb.models.attention.per_head import PerHeadAttention, token_mean
from robustbench_wb.models.sockets import Context


class EllipticalAttention(PerHeadAttention):
    """Elliptical attention ``softmax(Q M K^T / sqrt(p)) V`` with M = diag(m) per sample and head.

    ``m_i`` is the mean over tokens of ``|V_l - V_(l-1)|`` in feature i, divided by the largest m_i: features that
    change little between layers get little weight. No gradient passes through m. The first layer is plain softmax
    attention. The published step size delta divides every m_i and cancels, so it is not an option. If no value changed,
    M is the identity.

    With causal attention the mean is over each query's prefix. The published language model averages over the whole
    sequence, which leaks later tokens, and omits 1 / sqrt(p); this class does neither.
    """

    def mix(self, q: Tensor, k: Tensor, v: Tensor, *, context: Context) -> Tensor:
        """Return head outputs (B, H, N, p) from queries, keys and values of that shape."""
        before = context.carry.get("elliptical values")
        context.carry["elliptical values"] = v.detach()
        if before is None:
            return attend(q, k, v, context=context)
        m = token_mean((v.detach() - before).abs(), context)
        largest = m.amax(-1, keepdim=True)
        return attend(q * torch.where(largest > 0, m / largest, 1.0), k, v, context=context)
