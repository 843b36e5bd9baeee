"""Doubly stochastic attention, the mechanism of Sinkformers (Sander, Ablin, Blondel, Peyre 2022, arXiv 2110.11773)."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from robustbench_wb.errors import MeasurementError, UsageError
from robustbench_wb.models.attention.base import attend_joined, attention_matrix
from robustbench_wb.models.attention.per_head import PerHeadAttention
from robustbench_wb.models.attention.row_blocks import sum_by_rows
from robustbench_wb.models.sockets import Context, LayerConfig


class DoublyStochasticAttention(PerHeadAttention):
    """Attention ``S V``, where S is ``exp(Q K^T / sqrt(p))`` after ``iterations`` steps of Sinkhorn's algorithm.

    Steps normalise rows and columns in turn, rows first and last, so ``iterations`` is odd: 1 is softmax attention, 3
    is the published vision model. Rows sum to 1 exactly and columns approximately. Column steps are kept as one number
    per key, ``S = softmax(Q K^T / sqrt(p) + u)`` with ``u <- u - log(column sums of S)``, so S itself is not stored.
    Padding has no row and no column. Column sums below the smallest normal number count as that number.

    Causal attention is refused: the only doubly stochastic triangular matrix is the identity.

    Raises:
        UsageError: ``iterations`` is even or below 1.
    """

    def __init__(self, config: LayerConfig, iterations: int = 3) -> None:
        super().__init__(config)
        if iterations < 1 or iterations % 2 == 0:
            raise UsageError(f"doubly stochastic attention needs an odd number of iterations, not {iterations}")
        self.column_steps = iterations // 2

    def mix(self, q: Tensor, k: Tensor, v: Tensor, *, context: Context) -> Tensor:
        """Return head outputs (B, H, N, p) from queries, keys and values of that shape.

        Raises:
            MeasurementError: attention is causal, so the row of this variant is an error and other variants go on.
        """
        if context.causal:
            raise MeasurementError(
                "doubly stochastic attention has no causal form: every row and column of a triangular matrix sums to 1 "
                "only if it is the identity; choose another variant for language modelling"
            )
        keep = q.new_ones(1, 1, q.shape[-2], 1) if context.keep is None else context.keep[:, None, :, None].to(q.dtype)
        # Sums over many rows need more digits than half precision has.
        potential = torch.zeros_like(k[..., :1], dtype=torch.promote_types(k.dtype, torch.float32))
        for _ in range(self.column_steps):
            sums = sum_by_rows(_column_sums, (q, k, potential, keep)).mT
            potential = potential - torch.where(keep > 0, sums, 1.0).clamp(min=torch.finfo(sums.dtype).tiny).log()
        potential = potential.to(k.dtype)
        if context.watch is not None:
            context.watch(attention_matrix(q, k, context=context, bias=potential.mT), v)
        factors = torch.ones_like(potential), potential
        return attend_joined(q, k, v, factors=factors, context=replace(context, watch=None))


def _column_sums(rows: slice, q: Tensor, k: Tensor, potential: Tensor, keep: Tensor) -> Tensor:
    """Sums over some rows of softmax(q k^T / sqrt(p) + potential), (B, H, 1, N); ``keep`` is 1 at real tokens."""
    logits = (q[:, :, rows] / math.sqrt(q.shape[-1])) @ k.mT + potential.mT
    shares = logits.masked_fill(keep.mT == 0, -math.inf).softmax(dim=-1)
    return (shares * keep[:, :, rows]).sum(dim=-2, keepdim=True)
