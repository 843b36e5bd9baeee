"""Base class of attentions with queries, keys and values per head, and means over tokens."""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from robustbench_wb.models.attention.base import merge_heads, split_heads
from robustbench_wb.models.sockets import Attention, Context, LayerConfig


class PerHeadAttention(Attention):
    """Attention ``concat_h mix(Q_h, K_h, V_h) W + b``; all linear maps have biases, as in ViT."""

    def __init__(self, config: LayerConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.inner = config.heads * config.dim_head
        self.qkv = nn.Linear(config.width, 3 * self.inner)
        self.out = nn.Linear(self.inner, config.width)

    @abstractmethod
    def mix(self, q: Tensor, k: Tensor, v: Tensor, *, context: Context) -> Tensor:
        """Return head outputs from queries, keys and values, all (B, H, N, p)."""

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Mix the normalised stream (B, N, d) into an update (B, N, d)."""
        q, k, v = (split_heads(part, self.heads) for part in self.qkv(x).chunk(3, dim=-1))
        mixed: Tensor = self.out(merge_heads(self.mix(q, k, v, context=context)))
        return mixed


def token_mean(x: Tensor, context: Context) -> Tensor:
    """Return the mean (B, H, 1, c) of ``x`` (B, H, N, c) over real tokens.

    With causal attention it is the mean over each token and the tokens before it, (B, H, N, c), because a mean over all
    tokens would leak later tokens.
    """
    if context.causal:  # padding is on the right, so no prefix of a real token holds any
        return x.cumsum(-2) / torch.arange(1, x.shape[-2] + 1, dtype=x.dtype, device=x.device)[:, None]
    if context.keep is None:
        return x.mean(-2, keepdim=True)
    keep = context.keep[:, None, :, None].to(x.dtype)
    return (x * keep).sum(-2, keepdim=True) / keep.sum(-2, keepdim=True).clamp(min=1)
