"""Functions that attention mechanisms share: splitting heads, and computing softmax(QK^T) V."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from robustbench_wb.models.attention.biased import RowBias, attend_biased, masked, unfused
from robustbench_wb.models.sockets import Context


def split_heads(x: Tensor, heads: int) -> Tensor:
    """Reshape (..., N, H p) to (..., H, N, p); the head is the slow index of the last axis."""
    return x.view((*x.shape[:-1], heads, x.shape[-1] // heads)).transpose(-2, -3)


def merge_heads(x: Tensor) -> Tensor:
    """Reshape (..., H, N, p) to (..., N, H p); inverse of ``split_heads``."""
    return x.transpose(-2, -3).flatten(-2)


def attend(q: Tensor, k: Tensor, v: Tensor, *, context: Context, bias: Tensor | RowBias | None = None) -> Tensor:
    """Compute softmax(q k^T / sqrt(p) + bias) v over allowed pairs (Vaswani et al. 2017, eq. 1), all (B, H, N, p).

    ``bias`` is (1, H, N, N) if all samples share it; it is then broadcast, not copied. Where
    ``by_rows`` holds, it is a rule that computes the bias by rows. The N x
    N matrix is stored only while ``context.watch`` is set.
    """
    if isinstance(bias, RowBias):
        return attend_biased(q, k, v, allowed=context.mask(q.shape[-2], q.device), bias=bias)
    if context.watch is not None:
        context.watch(attention_matrix(q, k, context=context, bias=bias), v)
    if bias is None and context.causal:
        return functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    mask = context.mask(q.shape[-2], q.device)
    if bias is None:
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    if _in_pieces(bias, mask):
        return attend_biased(q, k, v, allowed=mask, bias=bias)
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=masked(bias, mask))


def _in_pieces(bias: Tensor, mask: Tensor | None) -> bool:
    """Whether PyTorch's fused attention would store a tensor of shape (B, H, N, N) for this bias and mask."""
    if not unfused(bias.device) or len(bias) > 1:
        return False
    return bias.requires_grad or (mask is not None and len(mask) > 1)


def attend_joined(q: Tensor, k: Tensor, v: Tensor, *, factors: tuple[Tensor, Tensor], context: Context) -> Tensor:
    """Compute softmax(q k^T / sqrt(p) + r s^T) v over allowed pairs, for ``factors`` = (r, s), each (1 or B, H, N, c).

    Both inner products become one of longer vectors, so that the fused kernel needs no bias in either pass. The kernel
    requires values of the same length, hence the zero padding. Do not call it while ``context.watch`` is set.
    """
    size, extra = q.shape[-1], factors[0].shape[-1]
    root = (size + extra) ** 0.5  # attend divides by this root
    r, s = (x.expand(len(q), -1, -1, -1) for x in factors)
    longer_q, longer_k = torch.cat([q * (root / size**0.5), r * root], dim=-1), torch.cat([k, s], dim=-1)
    return attend(longer_q, longer_k, functional.pad(v, (0, extra)), context=context)[..., :size]


def attention_matrix(q: Tensor, k: Tensor, *, context: Context, bias: Tensor | None = None) -> Tensor:
    """Return the matrix softmax(q k^T / sqrt(p) + bias) over allowed pairs, (B, H, N, N).

    It serves mechanisms that need the whole matrix, and measurements of the others.
    """
    logits = (q / math.sqrt(q.shape[-1])) @ k.transpose(-1, -2)
    if bias is not None:
        logits = logits + bias
    mask = context.mask(q.shape[-2], q.device)
    if mask is not None:
        logits = logits.masked_fill(~mask, -math.inf)
    return torch.softmax(logits, dim=-1)
