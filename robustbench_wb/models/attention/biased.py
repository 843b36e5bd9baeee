"""Softmax attention with a bias that never stores a (B, H, N, N) matrix, not even for gradients.

On a CPU, PyTorch's fused attention gives no gradient to its mask: with a learned bias it would store a matrix
(B, H, N, N) for every layer. Here the forward pass stays fused, and the backward pass recomputes the matrix in pieces
small enough for the cache. For short sequences the bias is computed as a whole and the pieces are samples. For long
sequences the bias is computed one block of query rows at a time in both passes, so that no N x N matrix exists.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, overload

import torch
from torch import Tensor
from torch.nn import functional

from robustbench_wb.models.attention.row_blocks import blocks, is_long
from robustbench_wb.models.sockets import Context

PIECE = 1 << 19
"""Entries of the attention matrix per piece (2 MB in float32); a piece holds at least the rows of one sample."""


@dataclass(frozen=True)
class RowBias:
    """Attention bias that is computed by rows: ``make(rows, *learned)`` returns (1 or B, H, rows, N).

    ``rows`` is a slice of 0 to N. Only the tensors in ``learned`` receive gradients. Both passes call ``make``, which
    must therefore be a pure function.
    """

    make: Callable[..., Tensor]
    learned: tuple[Tensor, ...] = ()


def by_rows(tokens: int, device: torch.device, context: Context) -> bool:
    """Whether a bias must be computed by rows: the sequence is long and ``unfused`` holds."""
    return is_long(tokens, context) and unfused(device)


def unfused(device: torch.device) -> bool:
    """Whether PyTorch's attention stores (B, H, N, N) matrices for a bias: on CPUs, unless autocast is on."""
    return device.type == "cpu" and not torch.is_autocast_enabled("cpu")


def attend_biased(q: Tensor, k: Tensor, v: Tensor, *, allowed: Tensor | None, bias: Tensor | RowBias) -> Tensor:
    """Compute ``softmax(q k^T / sqrt(p) + bias) v`` over allowed pairs in pieces, for q, k, v of shape (B, H, N, p).

    ``allowed`` is bool, broadcastable to (B, H, N, N), or None for all pairs. A tensor ``bias`` is (1, H, N, N). Second
    derivatives are not supported.
    """
    if isinstance(bias, RowBias):
        tensors = (q, k, v, *bias.learned)
        mixed: Tensor = _ByRows.apply(bias.make, allowed, *tensors)  # type: ignore[no-untyped-call]
    else:
        mixed = _BySamples.apply(q, k, v, allowed, bias)  # type: ignore[no-untyped-call]
    return mixed


def masked(bias: Tensor, allowed: Tensor | None) -> Tensor:
    """Return the bias with minus infinity at pairs that are not allowed."""
    return bias if allowed is None else bias.masked_fill(~allowed, -math.inf)


class _BySamples(torch.autograd.Function):
    """Attention with a bias tensor.

    The forward pass is one fused call, or one call per piece if samples have different masks.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, allowed: Tensor | None, bias: Tensor) -> Tensor:
        """Return the output (B, H, N, p), by fused attention."""
        out = _mixed(
            q, k, v, allowed=allowed, bias=bias.detach()
        )  # with a mask that requires gradients PyTorch does not fuse
        ctx.save_for_backward(q, k, v, bias, out)
        ctx.allowed = allowed
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, Tensor | None]:
        """Return the gradients with respect to q, k, v and the bias."""
        q, k, v, bias, out = ctx.saved_tensors
        dq, dk, dv = (torch.empty_like(x) for x in (q, k, v))
        dbias = torch.zeros_like(bias) if ctx.needs_input_grad[4] else None
        inner = (grad * out).sum(dim=-1, keepdim=True)
        for s in _samples(q, k):
            ds, dq[s], dk[s], dv[s] = _gradients(
                q[s], k[s], v[s], grad=grad[s], inner=inner[s], bias=masked(bias, _of(ctx.allowed, s))
            )
            if dbias is not None:
                dbias += ds.sum(dim=0, keepdim=True)
        return dq, dk, dv, None, dbias


class _ByRows(torch.autograd.Function):
    """Attention with a bias computed by rows; inside each block of rows, pieces are samples."""

    @staticmethod
    def forward(ctx: Any, make: Callable[..., Tensor], allowed: Tensor | None, *tensors: Tensor) -> Tensor:
        """Return the output (B, H, N, p) for ``tensors`` = (q, k, v, *learned), by fused attention."""
        q, k, v, *learned = tensors
        fixed = [tensor.detach() for tensor in learned]
        steps = blocks(q.shape[-2])
        parts = [_mixed(q[:, :, r], k, v, allowed=_rows(allowed, r), bias=make(r, *fixed)) for r in steps]
        out = torch.cat(parts, dim=2)
        ctx.save_for_backward(out, *tensors)
        ctx.allowed, ctx.make = allowed, make
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients with respect to q, k, v and the learned tensors of the bias."""
        out, q, k, v, *learned = ctx.saved_tensors
        dq, (dk, dv) = torch.empty_like(q), (torch.zeros_like(x) for x in (k, v))
        leaves = [x.detach().requires_grad_(n) for x, n in zip(learned, ctx.needs_input_grad[5:], strict=True)]
        inner = (grad * out).sum(dim=-1, keepdim=True)
        for r in blocks(q.shape[-2]):
            with torch.enable_grad():
                bias = ctx.make(r, *leaves)
            dbias, allowed = torch.zeros_like(bias) if bias.requires_grad else None, _rows(ctx.allowed, r)
            for s in _samples(q[:, :, r], k):
                ds, dq[s, :, r], more_k, more_v = _gradients(
                    q[s, :, r],
                    k[s],
                    v[s],
                    grad=grad[s, :, r],
                    inner=inner[s, :, r],
                    bias=masked(_of(bias.detach(), s), _of(allowed, s)),
                )
                dk[s] += more_k
                dv[s] += more_v
                if dbias is not None:
                    _of(dbias, s).add_(ds.sum(dim=0, keepdim=True) if len(bias) == 1 else ds)
            if dbias is not None:
                torch.autograd.backward(bias, dbias)
        return None, None, dq, dk, dv, *(leaf.grad for leaf in leaves)


def _mixed(q: Tensor, k: Tensor, v: Tensor, *, allowed: Tensor | None, bias: Tensor) -> Tensor:
    """PyTorch's fused attention (B, H, rows, p): one call if all samples share bias and mask, else one per piece."""
    shared = len(bias) == 1 and (allowed is None or len(allowed) == 1)
    parts = [
        functional.scaled_dot_product_attention(q[s], k[s], v[s], attn_mask=masked(_of(bias, s), _of(allowed, s)))
        for s in ([slice(None)] if shared else _samples(q, k))
    ]
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def _gradients(
    q: Tensor, k: Tensor, v: Tensor, *, grad: Tensor, inner: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of the logits, q, k and v: dS = P (dP - rowsum(dO O)), as in Dao et al. 2022 (arXiv 2205.14135).

    ``grad`` is dO and ``inner`` is rowsum(dO O).
    """
    scale = 1 / math.sqrt(q.shape[-1])
    scaled = q * scale
    weights = (scaled @ k.mT).add_(bias).softmax(dim=-1)
    ds = (grad @ v.mT).sub_(inner).mul_(weights)
    return ds, (ds @ k).mul_(scale), ds.mT @ scaled, weights.mT @ grad


def _samples(q: Tensor, k: Tensor) -> list[slice]:
    """Slices of the batch, one per piece of at most ``PIECE`` matrix entries."""
    batch, heads, rows, _ = q.shape
    step = max(1, PIECE // (heads * rows * k.shape[-2]))
    return [slice(start, start + step) for start in range(0, batch, step)]


@overload
def _of(x: Tensor, samples: slice) -> Tensor: ...
@overload
def _of(x: Tensor | None, samples: slice) -> Tensor | None: ...
def _of(x: Tensor | None, samples: slice) -> Tensor | None:
    return x if x is None or len(x) == 1 else x[samples]


def _rows(allowed: Tensor | None, rows: slice) -> Tensor | None:
    return allowed if allowed is None or allowed.shape[-2] == 1 else allowed[:, :, rows]
