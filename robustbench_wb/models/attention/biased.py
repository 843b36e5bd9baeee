"""Softmax attention with a bias, without a matrix over the batch, not even for gradients.

On a CPU, PyTorch's fused attention gives no gradient to its mask: a learned bias would fall back to matrices
(B, H, N, N), kept for every layer. Here the forward pass stays fused, and the backward pass recomputes the matrix
piece by piece, small enough for the cache. Of a short sequence the bias is given whole, and pieces are samples. Of a
long one it is made a block of query rows at a time, forwards and backwards, so that no N x N matrix exists at all.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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
    if isinstance(bias, Tensor):
        bias = RowBias(_whole, (bias,))
    mixed: Tensor = _Biased.apply(q, k, v, allowed, bias.make, *bias.learned)  # type: ignore[no-untyped-call]
    return mixed


def masked(bias: Tensor, allowed: Tensor | None) -> Tensor:
    """The bias where a query may look at a key, and minus infinity where not."""
    return bias if allowed is None else bias.masked_fill(~allowed, -math.inf)


class _Biased(torch.autograd.Function):
    """The pieces of ``attend_biased``, and their gradients."""

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, allowed: Tensor | None, make: Callable[..., Tensor], *learned: Tensor
    ) -> Tensor:
        """(B, H, N, p); fused."""
        fixed = [tensor.detach() for tensor in learned]  # a mask that asks for gradients is not fused
        done = []
        for rows in _blocks(q, make):
            bias = make(rows, *fixed)
            shared = len(bias) == 1 and (allowed is None or len(allowed) == 1)
            parts = [
                functional.scaled_dot_product_attention(
                    q[s, :, rows], k[s], v[s], attn_mask=_masked(bias, allowed, s, rows)
                )
                for s in ([slice(None)] if shared else _samples(q, rows))
            ]
            done.append(torch.cat(parts) if len(parts) > 1 else parts[0])
        out = torch.cat(done, dim=2) if len(done) > 1 else done[0]
        ctx.save_for_backward(q, k, v, out, *learned)
        ctx.allowed, ctx.make = allowed, make
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Of q, k, v and what is learned."""
        q, k, v, out, *learned = ctx.saved_tensors
        needed = ctx.needs_input_grad[5:]
        dq, dk, dv = (torch.zeros_like(x) for x in (q, k, v))
        found: list[Tensor | None] = [None] * len(learned)
        inner = (grad * out).sum(dim=-1, keepdim=True)
        for rows in _blocks(q, ctx.make):
            leaves = [x.detach().requires_grad_(wanted) for x, wanted in zip(learned, needed, strict=True)]
            with torch.enable_grad():
                bias = ctx.make(rows, *leaves)
            dbias = torch.zeros_like(bias) if bias.requires_grad else None
            for s in _samples(q, rows):
                piece = (q[s, :, rows], k[s], v[s], grad[s, :, rows], inner[s, :, rows])
                ds, *parts = _gradients(*piece, _masked(bias.detach(), ctx.allowed, s, rows))
                for total, part in zip((dq[s, :, rows], dk[s], dv[s]), parts, strict=True):
                    total += part
                if dbias is not None:
                    _samples_of(dbias, s).add_(ds.sum(dim=0, keepdim=True) if len(dbias) == 1 else ds)
            if dbias is not None:
                of = [index for index, wanted in enumerate(needed) if wanted]
                for index, part in zip(of, torch.autograd.grad(bias, [leaves[i] for i in of], dbias), strict=True):
                    before = found[index]
                    found[index] = part if before is None else before + part
        return dq, dk, dv, None, None, *found


def _gradients(
    q: Tensor, k: Tensor, v: Tensor, grad: Tensor, inner: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of the logits, q, k and v, with dS = P (dP - rowsum(dO O)) as in Dao et al. 2022 (arXiv 2205.14135)."""
    scale = 1 / math.sqrt(q.shape[-1])
    scaled = q * scale
    weights = (scaled @ k.mT).add_(bias).softmax(dim=-1)
    ds = (grad @ v.mT).sub_(inner).mul_(weights)
    return ds, (ds @ k).mul_(scale), ds.mT @ scaled, weights.mT @ grad


def _whole(rows: slice, bias: Tensor) -> Tensor:
    return bias


def _blocks(q: Tensor, make: Callable[..., Tensor]) -> list[slice]:
    """The rows that are worked on together: all, of a bias that is there anyway."""
    tokens = q.shape[-2]
    return [slice(0, tokens)] if make is _whole else blocks(tokens)


def _samples(q: Tensor, rows: slice) -> list[slice]:
    batch, heads, tokens, _ = q.shape
    step = max(1, PIECE // (heads * (rows.stop - rows.start) * tokens))
    return [slice(start, start + step) for start in range(0, batch, step)]


def _samples_of(x: Tensor, samples: slice) -> Tensor:
    return x if len(x) == 1 else x[samples]


def _masked(bias: Tensor, allowed: Tensor | None, samples: slice, rows: slice) -> Tensor:
    """The bias of these samples, and what they may see from these rows."""
    if allowed is not None:
        allowed = _samples_of(allowed if allowed.shape[-2] == 1 else allowed[:, :, rows], samples)
    return masked(_samples_of(bias, samples), allowed)
