"""What attention mechanisms share: splitting heads, and the one call that computes softmax(QK^T) V."""

from torch import Tensor
from torch.nn import functional

from robustbench_wb.models.sockets import Context


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(..., N, H p) to (..., H, N, p); the head is the slow index of the last axis."""
    return x.view(*x.shape[:-1], heads, x.shape[-1] // heads).transpose(-2, -3)


def merge_heads(x: Tensor) -> Tensor:
    """(..., H, N, p) to (..., N, H p): the inverse of ``split_heads``."""
    return x.transpose(-2, -3).flatten(-2)


def attend(q: Tensor, k: Tensor, v: Tensor, context: Context, bias: Tensor | None = None) -> Tensor:
    """softmax(q k^T / sqrt(p) + bias) v over allowed pairs (Vaswani et al. 2017, eq. 1), all (B, H, N, p).

    ``bias`` is (1, H, N, N): it does not depend on the batch, and is broadcast, never copied, over it.
    """
    mask = context.mask
    if bias is not None and mask is not None:
        mask = bias.masked_fill(~mask, float("-inf"))
    elif bias is not None:
        mask = bias
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
