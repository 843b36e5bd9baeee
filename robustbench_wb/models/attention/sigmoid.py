"""Sigmoid attention (Ramapuram et al. 2024, arXiv 2409.04431)."""

import math

import torch
from torch import Tensor

from robustbench_wb.models.attention.per_head import PerHeadAttention
from robustbench_wb.models.attention.row_blocks import is_long, scan_by_rows
from robustbench_wb.models.sockets import Context


class SigmoidAttention(PerHeadAttention):
    """Attention ``sigmoid(Q K^T / sqrt(p) - log n) V``, where n is the number of keys that the query attends to.

    The weights of a query do not compete and need not sum to 1; the shift by log n makes them sum to about 1 at the
    start of training. n counts real tokens, and with causal attention those of the query's prefix, so that neither
    padding nor later tokens change an output; the paper has the length of the sequence. No extra parameters.
    """

    def mix(self, q: Tensor, k: Tensor, v: Tensor, *, context: Context) -> Tensor:
        """Return head outputs (B, H, N, p) from queries, keys and values of that shape."""
        allowed = context.mask(q.shape[-2], q.device)

        def weights(rows: slice, q: Tensor, k: Tensor) -> Tensor:
            logits = (q[:, :, rows] / math.sqrt(q.shape[-1])) @ k.mT
            if allowed is None:
                return torch.sigmoid(logits - math.log(k.shape[-2]))
            seen = allowed if allowed.shape[-2] == 1 else allowed[:, :, rows]
            count = seen.sum(dim=-1, keepdim=True).clamp(min=1)
            return torch.sigmoid(logits - count.to(logits.dtype).log()).masked_fill(~seen, 0.0)

        def block(rows: slice, carry: Tensor, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
            return weights(rows, q, k) @ v, carry

        if is_long(q.shape[-2], context):
            return scan_by_rows(block, q.new_zeros(1), (q, k, v))
        a = weights(slice(None), q, k)
        if context.watch is not None:
            context.watch(a, v)
        return a @ v
