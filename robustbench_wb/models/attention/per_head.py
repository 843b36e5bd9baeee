"""What attentions with queries, keys and values share: the linear maps around a rule for the heads; token means."""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from robustbench_wb.models.attention.base import merge_heads, split_heads
from robustbench_wb.models.sockets import Attention, Context, Place


class PerHeadAttention(Attention):
    """``concat_h mix(Q_h, K_h, V_h)``, then a linear map; the maps have biases, as in ViT."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.heads = place.heads
        self.inner = place.heads * place.dim_head
        self.qkv = nn.Linear(place.width, 3 * self.inner)
        self.out = nn.Linear(self.inner, place.width)

    @abstractmethod
    def mix(self, q: Tensor, k: Tensor, v: Tensor, context: Context) -> Tensor:
        """The outputs of the heads, from their queries, keys and values; all (B, H, N, p)."""

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """(B, N, d) to (B, N, d)."""
        q, k, v = (split_heads(part, self.heads) for part in self.qkv(x).chunk(3, dim=-1))
        mixed: Tensor = self.out(merge_heads(self.mix(q, k, v, context)))
        return mixed


def token_mean(x: Tensor, context: Context) -> Tensor:
    """The mean of (B, H, N, c) over the real tokens, (B, H, 1, c).

    Where the context is causal: the mean over each token and those before it, (B, H, N, c). A mean over all tokens
    would tell a token about later ones.
    """
    if context.causal:  # padding stands on the right: no prefix of a real token holds any
        return x.cumsum(-2) / torch.arange(1, x.shape[-2] + 1, dtype=x.dtype, device=x.device)[:, None]
    if context.keep is None:
        return x.mean(-2, keepdim=True)
    keep = context.keep[:, None, :, None].to(x.dtype)
    return (x * keep).sum(-2, keepdim=True) / keep.sum(-2, keepdim=True).clamp(min=1)
