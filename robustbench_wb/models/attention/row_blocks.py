"""Computation over long sequences in blocks of query rows, so that no N x N matrix exists in either pass.

The forward pass stores no block; the backward pass calls the block's rule again. Checkpointing each block would do the
same, but the tensors that it keeps between blocks fragment the heap, which then grows to gigabytes.
"""

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from robustbench_wb.models.sockets import Context

ROWS = 32
"""Query rows per block of a long sequence."""

LONG = 512
"""Number of tokens from which no N x N matrix is stored.

In shorter sequences a bias (1 MB per head) fits the cache, and computing it once is faster than computing it again for
the gradients.
"""


def is_long(tokens: int, context: Context) -> bool:
    """Whether to avoid N x N matrices; always False while ``context.watch`` is set, since it receives them."""
    return tokens >= LONG and context.watch is None


def blocks(tokens: int) -> list[slice]:
    """Return slices of consecutive query rows, at most ``ROWS`` rows each."""
    return [slice(start, min(start + ROWS, tokens)) for start in range(0, tokens, ROWS)]


def sum_by_rows(rule: Callable[..., Tensor], tensors: Sequence[Tensor]) -> Tensor:
    """Sum ``rule(rows, *tensors)`` over blocks of rows; N is the second last axis of the first tensor.

    Second derivatives are not supported.
    """
    with torch.autocast(tensors[0].device.type, enabled=False):
        total: Tensor = _Sum.apply(rule, *_alike(tensors))  # type: ignore[no-untyped-call]
    return total


def scan_by_rows(rule: Callable[..., tuple[Tensor, Tensor]], carry: Tensor, tensors: Sequence[Tensor]) -> Tensor:
    """Compute ``out, carry = rule(rows, carry, *tensors)`` block after block, and return the joined ``out``.

    The result has the shape of the first tensor, whose second last axis is N. Second derivatives are not supported.
    """
    with torch.autocast(tensors[0].device.type, enabled=False):
        out: Tensor = _Scan.apply(rule, *_alike([carry, *tensors]))  # type: ignore[no-untyped-call]
    return out


def _alike(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Tensors in the widest of their dtypes.

    Autocast could not do this: it is off in backward passes, so both passes would differ.
    """
    widest = reduce(torch.promote_types, (x.dtype for x in tensors))
    return [x.to(widest) for x in tensors]


def _leaves(ctx: Any) -> list[Tensor]:
    """Saved tensors as leaves of a new graph; those that need a gradient require it."""
    needed = ctx.needs_input_grad[-len(ctx.saved_tensors) :]
    return [x.detach().requires_grad_(wanted) for x, wanted in zip(ctx.saved_tensors, needed, strict=True)]


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rule: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
        ctx.save_for_backward(*tensors)
        ctx.rule = rule
        first, *rest = blocks(tensors[0].shape[-2])
        total = rule(first, *tensors)
        for rows in rest:
            total += rule(rows, *tensors)
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        leaves = _leaves(ctx)
        for rows in blocks(leaves[0].shape[-2]):
            with torch.enable_grad():
                part = ctx.rule(rows, *leaves)
            torch.autograd.backward(part, grad)
        return None, *(leaf.grad for leaf in leaves)


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rule: Callable[..., Any], carry: Tensor, *tensors: Tensor) -> Tensor:
        steps = blocks(tensors[0].shape[-2])
        carries = carry.new_empty(len(steps), *carry.shape)  # one allocation, as for the outputs
        out = torch.empty_like(tensors[0])
        for before, rows in zip(carries, steps, strict=True):
            before.copy_(carry)
            out[..., rows, :], carry = rule(rows, before, *tensors)
        ctx.save_for_backward(*tensors)
        ctx.rule, ctx.carries = rule, carries
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        leaves, steps = _leaves(ctx), blocks(grad.shape[-2])
        after = torch.zeros_like(ctx.carries[0])
        for carry, rows in zip(reversed(ctx.carries), reversed(steps), strict=True):
            before = carry.detach().requires_grad_()
            with torch.enable_grad():
                parts = ctx.rule(rows, before, *leaves)
            torch.autograd.backward(parts, (grad[..., rows, :], after))
            after = torch.zeros_like(after) if before.grad is None else before.grad
        return None, after, *(leaf.grad for leaf in leaves)
