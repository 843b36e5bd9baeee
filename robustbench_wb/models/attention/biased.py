"""Softmax attention with a bias that the batch shares, without a matrix over the batch, not even for gradients.

On a CPU, PyTorch's fused attention gives no gradient to its mask: a learned bias would fall back to matrices
(B, H, N, N), kept for every layer. Here the forward pass stays fused, and the backward pass recomputes the matrix
piece of the batch by piece, small enough for the cache.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

PIECE = 1 << 19
"""How many entries of the matrix are worked on at a time (2 MB in float32), unless one sample has more."""


class BiasedAttention(torch.autograd.Function):
    """``softmax(q k^T / sqrt(p) + bias) v`` for q, k, v (B, H, N, p), bias (1, H, N, N), and its gradients.

    ``allowed`` is bool, broadcastable to (B, H, N, N), or None. There are no second derivatives.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor, allowed: Tensor | None) -> Tensor:
        """(B, H, N, p); fused."""
        shared = allowed is None or len(allowed) == 1
        rows = [slice(None)] if shared else _pieces(q)
        fixed = bias.detach()  # a mask that asks for gradients is not fused, even where none are taken
        parts = [
            functional.scaled_dot_product_attention(q[r], k[r], v[r], attn_mask=masked(fixed, _rows(allowed, r)))
            for r in rows
        ]
        out = torch.cat(parts) if len(parts) > 1 else parts[0]
        ctx.save_for_backward(q, k, v, bias, out)
        ctx.allowed = allowed
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None, None]:
        """Of q, k, v and bias, with dS = P (dP - rowsum(dO O)) as in Dao et al. 2022 (arXiv 2205.14135)."""
        q, k, v, bias, out = ctx.saved_tensors
        dq, dk, dv = (torch.empty_like(x) for x in (q, k, v))
        dbias = torch.zeros_like(bias) if ctx.needs_input_grad[3] else None
        scale = 1 / math.sqrt(q.shape[-1])
        inner = (grad * out).sum(dim=-1, keepdim=True)
        for r in _pieces(q):
            scaled = q[r] * scale
            weights = (scaled @ k[r].mT).add_(masked(bias, _rows(ctx.allowed, r))).softmax(dim=-1)
            dv[r] = weights.mT @ grad[r]
            ds = (grad[r] @ v[r].mT).sub_(inner[r]).mul_(weights)
            dq[r] = (ds @ k[r]).mul_(scale)
            dk[r] = ds.mT @ scaled
            if dbias is not None:
                dbias += ds.sum(dim=0, keepdim=True)
        return dq, dk, dv, dbias, None


def _pieces(q: Tensor) -> list[slice]:
    batch, heads, tokens, _ = q.shape
    step = max(1, PIECE // (heads * tokens**2))
    return [slice(start, start + step) for start in range(0, batch, step)]


def _rows(allowed: Tensor | None, rows: slice) -> Tensor | None:
    return allowed if allowed is None or len(allowed) == 1 else allowed[rows]


def masked(bias: Tensor, allowed: Tensor | None) -> Tensor:
    """The bias where a query may look at a key, and minus infinity where not."""
    return bias if allowed is None else bias.masked_fill(~allowed, -math.inf)
