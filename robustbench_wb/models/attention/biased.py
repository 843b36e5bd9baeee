"""Softmax attention with a bias, without a matrix over the batch, not even for gradients.

On a CPU, PyTorch's fused attention gives no gradient to its mask: a learned bias would fall back to matrices
(B, H, N, N), kept for every layer. Here the forward pass stays fused, and the backward pass recomputes the matrix
piece by piece, small enough for the cache. Of a short sequence the bias is given whole, and pieces are samples. Of a
long one it is made a block of query rows at a time, forwards and backwards, so that no N x N matrix exists at all.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, overload

import torch
from torch import Tensor
from torch.nn import functional

from robustbench_wb.models.attention.rows import blocks, is_long
from robustbench_wb.models.sockets import Context

PIECE = 1 << 19
"""How many entries of the matrix are worked on at a time (2 MB in float32), unless one sample's rows have more."""


@dataclass(frozen=True)
class RowBias:
    """A bias of attention that is made by rows: ``make(rows, *learned)`` is (1 or B, H, rows, N).

    ``rows`` is a slice from 0 to N. Gradients reach the tensors in ``learned`` and nothing else, so ``make`` must be
    the same function in both passes.
    """

    make: Callable[..., Tensor]
    learned: tuple[Tensor, ...] = ()


def by_rows(tokens: int, device: torch.device, context: Context) -> bool:
    """Whether a bias is to be made by rows: of long sequences, where :func:`unfused` holds."""
    return is_long(tokens, context) and unfused(device)


def unfused(device: torch.device) -> bool:
    """Whether PyTorch's attention takes a bias only at the price of matrices: on CPUs; autocast is left to it."""
    return device.type == "cpu" and not torch.is_autocast_enabled("cpu")


def attend_biased(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor | None, bias: Tensor | RowBias) -> Tensor:
    """``softmax(q k^T / sqrt(p) + bias) v`` over allowed pairs, for q, k, v (B, H, N, p), by pieces.

    ``allowed`` is bool, broadcastable to (B, H, N, N), or None; a whole ``bias`` is (1, H, N, N). There are no second
    derivatives.
    """
    if isinstance(bias, RowBias):
        mixed: Tensor = _ByRows.apply(q, k, v, allowed, bias.make, *bias.learned)  # type: ignore[no-untyped-call]
    else:
        mixed = _BySamples.apply(q, k, v, allowed, bias)  # type: ignore[no-untyped-call]
    return mixed


def masked(bias: Tensor, allowed: Tensor | None) -> Tensor:
    """The bias where a query may look at a key, and minus infinity where not."""
    return bias if allowed is None else bias.masked_fill(~allowed, -math.inf)


class _BySamples(torch.autograd.Function):
    """Of a whole bias: the forward pass is one, or one for each piece where samples see differently."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, allowed: Tensor | None, bias: Tensor) -> Tensor:
        """(B, H, N, p); fused."""
        out = _mixed(q, k, v, allowed, bias.detach())  # a mask that asks for gradients is not fused
        ctx.save_for_backward(q, k, v, bias, out)
        ctx.allowed = allowed
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, Tensor | None]:
        """Of q, k, v and the bias."""
        q, k, v, bias, out = ctx.saved_tensors
        dq, dk, dv = (torch.empty_like(x) for x in (q, k, v))
        dbias = torch.zeros_like(bias) if ctx.needs_input_grad[4] else None
        inner = (grad * out).sum(dim=-1, keepdim=True)
        for s in _samples(q, k):
            ds, dq[s], dk[s], dv[s] = _gradients(q[s], k[s], v[s], grad[s], inner[s], masked(bias, _of(ctx.allowed, s)))
            if dbias is not None:
                dbias += ds.sum(dim=0, keepdim=True)
        return dq, dk, dv, None, dbias


class _ByRows(torch.autograd.Function):
    """Of a bias that is made by rows: inside each block of rows, pieces are samples again."""

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, allowed: Tensor | None, make: Callable[..., Tensor], *learned: Tensor
    ) -> Tensor:
        """(B, H, N, p); fused."""
        fixed = [tensor.detach() for tensor in learned]
        steps = blocks(q.shape[-2])
        parts = [_mixed(q[:, :, r], k, v, _rows(allowed, r), make(r, *fixed)) for r in steps]
        out = torch.cat(parts, dim=2)
        ctx.save_for_backward(q, k, v, out, *learned)
        ctx.allowed, ctx.make = allowed, make
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Of q, k, v and what is learned."""
        q, k, v, out, *learned = ctx.saved_tensors
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
                    grad[s, :, r],
                    inner[s, :, r],
                    masked(_of(bias.detach(), s), _of(allowed, s)),
                )
                dk[s] += more_k
                dv[s] += more_v
                if dbias is not None:
                    _of(dbias, s).add_(ds.sum(dim=0, keepdim=True) if len(bias) == 1 else ds)
            if dbias is not None:
                torch.autograd.backward(bias, dbias)
        return dq, dk, dv, None, None, *(leaf.grad for leaf in leaves)


def _mixed(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor | None, bias: Tensor) -> Tensor:
    """PyTorch's fused attention, (B, H, rows, p): at once, where the batch shares what is added to the logits."""
    shared = len(bias) == 1 and (allowed is None or len(allowed) == 1)
    parts = [
        functional.scaled_dot_product_attention(q[s], k[s], v[s], attn_mask=masked(_of(bias, s), _of(allowed, s)))
        for s in ([slice(None)] if shared else _samples(q, k))
    ]
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def _gradients(
    q: Tensor, k: Tensor, v: Tensor, grad: Tensor, inner: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of the logits, q, k and v, with dS = P (dP - rowsum(dO O)) as in Dao et al. 2022 (arXiv 2205.14135)."""
    scale = 1 / math.sqrt(q.shape[-1])
    scaled = q * scale
    weights = (scaled @ k.mT).add_(bias).softmax(dim=-1)
    ds = (grad @ v.mT).sub_(inner).mul_(weights)
    return ds, (ds @ k).mul_(scale), ds.mT @ scaled, weights.mT @ grad


def _samples(q: Tensor, k: Tensor) -> list[slice]:
    """The samples that are worked on together."""
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
