"""TUPE-A: untied absolute positions (Ke, He, Liu 2021, arXiv 2006.15595): the control for bilateral attention."""

import math

import torch
from torch import Tensor, nn

from robustbench_wb.errors import UsageError
from robustbench_wb.models.attention.base import split_heads
from robustbench_wb.models.attention.softmax import SoftmaxAttention
from robustbench_wb.models.sockets import Context, Place


class TupeAttention(SoftmaxAttention):
    """``softmax((Q K^T + P U_Q (P U_K)^T) / sqrt(2p)) V``, its position term shared by all layers.

    The first layer owns U_Q and U_K and leaves the term for the later ones, which have no position parameters. Pairs
    with a token that has no place (CLS) get one learned number per head instead: one where CLS looks, one where
    others look at it (the paper's reset, eq. 9).
    """

    position = "separate"

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        first = place.layer == 0
        self.position_qk = nn.Linear(place.width, 2 * self.inner, bias=False) if first else None
        self.reset = nn.Parameter(torch.zeros(2, place.heads)) if first else None

    def position_logits(self, context: Context) -> Tensor:
        """(1, H, N, N), computed once in a forward pass.

        Raises:
            UsageError: the context holds no positions, or the first layer did not run.
        """
        if self.position_qk is not None and self.reset is not None:
            context.carry["untied positions"] = self._first(context, self.position_qk, self.reset)
        if "untied positions" not in context.carry:
            raise UsageError("the later layers of tupe need the first, which owns the positions")
        return context.carry["untied positions"]

    def _first(self, context: Context, position_qk: nn.Linear, reset: Tensor) -> Tensor:
        if context.positions is None:
            raise UsageError("tupe needs an embedding that keeps positions separate")
        unplaced, tokens = context.unplaced, len(context.positions)
        q, k = (split_heads(part, self.heads) for part in position_qk(context.positions[unplaced:]).chunk(2, dim=-1))
        logits = (q / math.sqrt(2 * q.shape[-1])) @ k.transpose(-1, -2)
        from_cls, to_cls = reset[:, :, None, None]
        logits = torch.cat([to_cls.expand(-1, tokens - unplaced, unplaced), logits], dim=2)
        return torch.cat([from_cls.expand(-1, unplaced, tokens), logits], dim=1)[None]

    def mix(self, q: Tensor, k: Tensor, v: Tensor, context: Context) -> Tensor:
        """The outputs of the heads, (B, H, N, p)."""
        return super().mix(q / math.sqrt(2), k, v, context)
