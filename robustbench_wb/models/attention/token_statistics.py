"""Token statistics self-attention of ToST (Wu et al. 2024, arXiv 2412.17810, as implemented)."""

import torch
from torch import Tensor, nn

from robustbench_wb.models.attention.base import merge_heads, split_heads
from robustbench_wb.models.sockets import Attention, Context, LayerConfig


class TokenStatisticsAttention(Attention):
    """Token statistics attention: a step that lowers the coding rate of each head, from second moments of tokens only.

    With W = X U^T (no bias) and head k: ``pi_k = softmax over heads of g_k sum_c W_kic^2 / sum_j W_kjc^2`` is the share
    of token i in head k, ``m_kc = sum_j pi_kj W_kjc^2 / sum_j pi_kj`` the moment of direction c, and the output
    ``- pi_ki W_kic / (1 + m_kc)``. g_k is learned. No pair of tokens is compared, so the cost grows with N.

    Sums are over real tokens, and with causal attention over each token's prefix. The language model of the authors
    also adds a learned number per head and position before the softmax, which ties a model to one length; it is left
    out. ``context.watch`` receives the weights ``pi_kj / sum_j pi_kj`` that token j has in the moments which token i
    uses (equal for all i unless attention is causal), and W.
    """

    def __init__(self, config: LayerConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.subspaces = nn.Linear(config.width, config.heads * config.dim_head, bias=False)
        self.temperature = nn.Parameter(torch.ones(config.heads, 1, 1))
        self.out = nn.Linear(config.heads * config.dim_head, config.width)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Mix the normalised stream (B, N, d) into an update (B, N, d)."""
        w = split_heads(self.subspaces(x), self.heads)
        keep = w.new_ones(1) if context.keep is None else context.keep[:, None, :, None].to(w.dtype)
        square = w.square()
        spread = square / _sums(square * keep, context).clamp(min=1e-12)
        member = torch.softmax(spread.sum(dim=-1, keepdim=True) * self.temperature, dim=1)
        weight = member * keep
        total = _sums(weight, context).clamp(min=1e-8)  # the published code adds 1e-8
        if context.watch is not None:
            matrix = (weight.mT / total).expand(-1, -1, w.shape[-2], -1)
            context.watch(matrix.tril() if context.causal else matrix, w)
        moment = _sums(weight * square, context) / total
        mixed: Tensor = self.out(merge_heads(-member * w / (1 + moment)))
        return mixed


def _sums(x: Tensor, context: Context) -> Tensor:
    """Sums over tokens, (B, H, 1, c), or over prefixes with causal attention, (B, H, N, c)."""
    return x.cumsum(dim=-2) if context.causal else x.sum(dim=-2, keepdim=True)
