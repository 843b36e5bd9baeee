"""Differential attention (Ye, Dong, Xia, Sun, Zhu, Huang, Wei 2024, arXiv 2410.05258)."""

import math
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from robustbench_wb.errors import UsageError
from robustbench_wb.models.attention.base import attend, attention_matrix
from robustbench_wb.models.attention.per_head import PerHeadAttention
from robustbench_wb.models.sockets import Context, LayerConfig


class DifferentialAttention(PerHeadAttention):
    """Differential attention ``(1 - c) RMSNorm((A_1 - lam A_2) V)``: a second attention map cancels common noise.

    Each head halves its queries and keys: ``A_i = softmax(Q_i K_i^T / sqrt(p / 2))``. The heads of a layer share
    ``lam = exp(a_1 . b_1) - exp(a_2 . b_2) + c``, with learned vectors a_i and b_i and ``c = 0.8 - 0.6 exp(-0.3 l)`` in
    layer l (from 0), and the gain of the norm, which acts on each head of each token. ``context.watch`` receives
    ``A_1 - lam A_2``, whose rows sum to 1 - lam and which may have negative entries.

    Raises:
        UsageError: the head dimension is odd.
    """

    def __init__(self, config: LayerConfig) -> None:
        super().__init__(config)
        if config.dim_head % 2:
            raise UsageError(f"differential attention halves its heads, so they need even sizes, not {config.dim_head}")
        self.start = 0.8 - 0.6 * math.exp(-0.3 * config.layer)
        self.left = nn.Parameter(torch.empty(2, config.dim_head // 2).normal_(std=0.1))
        self.right = nn.Parameter(torch.empty(2, config.dim_head // 2).normal_(std=0.1))
        self.gain = nn.Parameter(torch.ones(config.dim_head))

    def strength(self) -> Tensor:
        """Return lam, the weight of the second attention map (a scalar)."""
        first, second = (self.left * self.right).sum(-1).exp()
        lam: Tensor = first - second + self.start
        return lam

    def mix(self, q: Tensor, k: Tensor, v: Tensor, *, context: Context) -> Tensor:
        """Return head outputs (B, H, N, p) from queries, keys and values of that shape."""
        lam = self.strength()
        halves = list(zip(q.chunk(2, dim=-1), k.chunk(2, dim=-1), strict=True))
        if context.watch is not None:
            first, second = (attention_matrix(left, right, context=context) for left, right in halves)
            context.watch(first - lam * second, v)
        fused = replace(context, watch=None)
        one, two = (_attend_narrow(left, right, v, context=fused) for left, right in halves)
        return (1 - self.start) * self.gain * functional.rms_norm(one - lam * two, self.gain.shape, eps=1e-5)


def _attend_narrow(q: Tensor, k: Tensor, v: Tensor, *, context: Context) -> Tensor:
    """Attention with queries and keys that are narrower than the values.

    The fused kernel needs equal sizes, hence the zero padding; ``attend`` divides by the root of the padded size.
    """
    size, wanted = q.shape[-1], v.shape[-1]
    longer_q, longer_k = (functional.pad(x, (0, wanted - size)) for x in (q * (wanted / size) ** 0.5, k))
    return attend(longer_q, longer_k, v, context=context)
