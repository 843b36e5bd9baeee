"""Elliptical attention (Nielsen, Abdullaev, Teo, Nguyen, NeurIPS 2024, as implemented)."""

import torch
from torch import Tensor

from robustbench_wb.models.attention.base import attend
from robustbench_wb.models.attention.per_head import PerHeadAttention, token_mean
from robustbench_wb.models.sockets import Context


class EllipticalAttention(PerHeadAttention):
    """``softmax(Q M K^T / sqrt(p)) V`` with M = diag(m), per sample and head; plain in the first layer.

    ``m_i`` is the mean over tokens of ``|V_l - V_(l-1)|`` in feature i, divided by the largest m_i: a feature that
    changes little from layer to layer counts little. No gradient passes through m. The published step size delta
    divides every m_i and so cancels: it is no option. Where nothing changed at all, M is the identity.

    In the causal case the mean is over each query's prefix. (The published language model's is over the whole
    sequence, so a token learns about later ones; it also leaves out 1 / sqrt(p). Neither is followed.)
    """

    def mix(self, q: Tensor, k: Tensor, v: Tensor, context: Context) -> Tensor:
        """The outputs of the heads, (B, H, N, p)."""
        before = context.carry.get("elliptical values")
        context.carry["elliptical values"] = v.detach()
        if before is None:
            return attend(q, k, v, context)
        m = token_mean((v.detach() - before).abs(), context)
        largest = m.amax(-1, keepdim=True)
        return attend(q * torch.where(largest > 0, m / largest, 1.0), k, v, context)
