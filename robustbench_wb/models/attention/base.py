"""What attention mechanisms share: splitting heads, and the one call that computes softmax(QK^T) V."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from robustbench_wb.models.attention.biased import RowBias, attend_biased, masked, unfused
from robustbench_wb.models.sockets import Context


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(..., N, H p) to (..., H, N, p); the head is the slow index of the last axis."""
    return x.view(*x.shape[:-1], heads, x.shape[-1] // heads).transpose(-2, -3)


def merge_heads(x: Tensor) -> Tensor:
    """(..., H, N, p) to (..., N, H p): the inverse of ``split_heads``."""
    return x.transpose(-2, -3).flatten(-2)


def attend(q: Tensor, k: Tensor, v: Tensor, context: Context, bias: Tensor | RowBias | None = None) -> Tensor:
    """softmax(q k^T / sqrt(p) + bias) v over allowed pairs (Vaswani et al. 2017, eq. 1), all (B, H, N, p).

    ``bias`` is (1, H, N, N) where it does not depend on the batch: it is broadcast over it, never copied; or, where
    :func:`~robustbench_wb.models.attention.biased.by_rows` holds, a rule that makes it. The N x N matrix is not written
    out, except while somebody watches.
    """
    if isinstance(bias, RowBias):
        return attend_biased(q, k, v, context.mask(q.shape[-2], q.device), bias)
    if context.watch is not None:
        context.watch(attention_matrix(q, k, context, bias), v)
    if bias is None and context.causal:
        return functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    mask = context.mask(q.shape[-2], q.device)
    if bias is None:
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    if _in_pieces(bias, mask):
        return attend_biased(q, k, v, mask, bias)
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=masked(bias, mask))


def _in_pieces(bias: Tensor, mask: Tensor | None) -> bool:
    """Whether PyTorch's fused attention would write something of shape (B, H, N, N) out."""
    if not unfused(bias.device) or len(bias) > 1:
        return False
    return bias.requires_grad or (mask is not None and len(mask) > 1)


def attend_joined(q: Tensor, k: Tensor, v: Tensor, more: tuple[Tensor, Tensor], context: Context) -> Tensor:
    """softmax(q k^T / sqrt(p) + r s^T) v over allowed pairs, for ``more`` = (r, s) of shapes (1 or B, H, N, c).

    Two inner products are one, of longer vectors: the fused kernel needs no bias, forwards or backwards. It does ask
    for values as long, hence the zeros. Not for watchers.
    """
    size, extra = q.shape[-1], more[0].shape[-1]
    root = (size + extra) ** 0.5  # what attend will divide by
    r, s = (x.expand(len(q), -1, -1, -1) for x in more)
    longer_q, longer_k = torch.cat([q * (root / size**0.5), r * root], dim=-1), torch.cat([k, s], dim=-1)
    return attend(longer_q, longer_k, functional.pad(v, (0, extra)), context)[..., :size]


def attention_matrix(q: Tensor, k: Tensor, context: Context, bias: Tensor | None = None) -> Tensor:
    """softmax(q k^T / sqrt(p) + bias) over allowed pairs, (B, H, N, N), written out.

    For mechanisms that cannot do without the matrix, and for measuring those that can.
    """
    logits = (q / math.sqrt(q.shape[-1])) @ k.transpose(-1, -2)
    if bias is not None:
        logits = logits + bias
    mask = context.mask(q.shape[-2], q.device)
    if mask is not None:
        logits = logits.masked_fill(~mask, -math.inf)
    return torch.softmax(logits, dim=-1)
