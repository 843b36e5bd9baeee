"""Attention by robust principal components, RPC (Teo & Nguyen, NeurIPS 2024, as implemented)."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from robustbench_wb.errors import UsageError
from robustbench_wb.models.attention.base import attend, merge_heads, split_heads
from robustbench_wb.models.attention.per_head import token_mean
from robustbench_wb.models.sockets import Attention, Context, LayerConfig


class RpcAttention(Attention):
    """RPC attention: splits keys into a low-rank part L and a sparse part S of outliers, and returns L.

    Queries equal keys. Each step, from L = Y = 0, computes ``S = shrink(K - L + Y / mu; lam mu)``, ``K' = K - S - Y /
    mu``, ``L = softmax(K' K'^T / sqrt(p)) V`` and ``Y += mu (K - L - S)``, with ``mu = N d / (4 ||K||_1)`` per sample
    and head. The first ``layers`` layers take ``iterations`` steps, the others one. The threshold lam mu is that of the
    authors' code; the theory of principal component pursuit has lam / mu.

    N and ||K||_1 cover real tokens. With causal attention they cover each token's prefix, because a norm over all
    tokens leaks later ones.

    Raises:
        UsageError: ``iterations`` is below 1, or ``lam`` is negative.
    """

    def __init__(self, config: LayerConfig, *, lam: float = 4.0, iterations: int = 4, layers: int = 1) -> None:
        super().__init__()
        if iterations < 1 or lam < 0:
            raise UsageError(f"rpc needs iterations >= 1 and lam >= 0; got {iterations} and {lam}")
        self.heads, self.steps = config.heads, iterations if config.layer < layers else 1
        self.strength = lam * config.width / config.dim_head / 4
        self.kv = nn.Linear(config.width, 2 * config.heads * config.dim_head)
        self.out = nn.Linear(config.heads * config.dim_head, config.width)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Mix the normalised stream (B, N, d) into an update (B, N, d)."""
        k, v = (split_heads(part, self.heads) for part in self.kv(x).chunk(2, dim=-1))
        size = token_mean(k.abs(), context).mean(-1, keepdim=True)  # ||K||_1 / (N p)
        threshold = self.strength / size.clamp(min=torch.finfo(size.dtype).eps)
        low, dual = torch.zeros_like(k), torch.zeros_like(k)  # dual is Y / mu, so that mu occurs in the threshold only
        for step in range(self.steps):
            rest = k - low + dual
            sparse = rest - rest.clamp(-threshold, threshold)
            clean = k - sparse - dual
            low = attend(clean, clean, v, context=context if step == self.steps - 1 else replace(context, watch=None))
            dual = dual + k - low - sparse
        mixed: Tensor = self.out(merge_heads(low))
        return mixed
