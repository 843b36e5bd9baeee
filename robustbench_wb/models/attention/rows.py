"""Long sequences a block of query rows at a time, so that no N x N matrix exists, forwards or backwards.

Nothing is kept of a block: its rule is asked again for the gradients. Checkpointing each block would do the same, but
the tensors that it leaves between blocks break up the heap, which then grows to gigabytes.
"""

from collections.abc import Callable
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from robustbench_wb.models.sockets import Context

ROWS = 32
"""How many query rows of a long sequence are worked on at a time."""

LONG = 512
"""From how many tokens on nothing N x N is written out. Below, a bias of 1 MB a head fits the cache and is made once,
which is faster than making it again for the gradients."""


def is_long(tokens: int, context: Context) -> bool:
    """Whether to do without N x N matrices. A watcher is shown them, so while one watches nothing is too long."""
    return tokens >= LONG and context.watch is None


def blocks(tokens: int) -> list[slice]:
    """Consecutive query rows, ``ROWS`` at a time."""
    return [slice(start, min(start + ROWS, tokens)) for start in range(0, tokens, ROWS)]


def sum_by_rows(rule: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """The sum over blocks of ``rule(rows, *tensors)``; N is the second last axis of the first tensor.

    There are no second derivatives.
    """
    with torch.autocast(tensors[0].device.type, enabled=False):
        total: Tensor = _Sum.apply(rule, *_alike(*tensors))  # type: ignore[no-untyped-call]
    return total


def scan_by_rows(rule: Callable[..., tuple[Tensor, Tensor]], carry: Tensor, *tensors: Tensor) -> Tensor:
    """``out, carry = rule(rows, carry, *tensors)``, block after block; the outs joined, of the first tensor's shape.

    N is the second last axis of the first tensor. There are no second derivatives.
    """
    with torch.autocast(tensors[0].device.type, enabled=False):
        out: Tensor = _Scan.apply(rule, *_alike(carry, *tensors))  # type: ignore[no-untyped-call]
    return out


def _alike(*tensors: Tensor) -> list[Tensor]:
    """In the widest of their types. Autocast, which is off in backward passes, would choose for one pass alone."""
    widest = reduce(torch.promote_types, (x.dtype for x in tensors))
    return [x.to(widest) for x in tensors]


def _leaves(ctx: Any) -> list[Tensor]:
    """The saved tensors, those whose gradient is wanted as the roots of a new graph."""
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
        carries = carry.new_empty(len(steps), *carry.shape)  # in one place, as are the outs
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
