"""A learned bias per relative offset: Swin's table (Liu et al. 2021, arXiv 2103.14030) over T5's buckets."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from robustbench_wb.models.attention.places import PlacedAttention
from robustbench_wb.models.sockets import Place


class RelativeBiasAttention(PlacedAttention):
    """``softmax(Q K^T / sqrt(p) + T[bucket(p_i - p_j)]) V``, with one table T per head and layer.

    Each axis is cut into buckets (Raffel et al. 2020, arXiv 1910.10683): offsets below ``exact`` are told apart,
    those up to ``far`` fall into ``steps`` log-spaced buckets per sign, all beyond ``far`` into the last one. So no
    length need be known: images of at most ``exact`` patches a side get Swin's table exactly, texts use its middle
    column. Pairs with a token without a place get 0.
    """

    pairs_name = "offset buckets"

    def __init__(self, place: Place, exact: int = 16, steps: int = 8, far: int = 128) -> None:
        super().__init__(place)
        self.exact, self.steps, self.far = exact, steps, far
        self.span = 2 * (exact + steps) - 1
        self.table = nn.Parameter(torch.empty(self.span**2, place.heads).normal_(std=0.02))

    def buckets(self, offset: Tensor) -> Tensor:
        """Whole offsets of any shape to bucket numbers, from 0 to ``span`` - 1; offset 0 is in the middle."""
        size = offset.abs()
        step = torch.log(size.clamp(min=self.exact) / self.exact) / math.log(self.far / self.exact) * self.steps
        bucket = torch.where(size < self.exact, size, self.exact + step.floor().clamp(max=self.steps - 1))
        return (offset.sign() * bucket).long() + self.span // 2

    @property
    def learned(self) -> Tensor:
        """The table, (span^2, H)."""
        return self.table

    def pairs(self, offset: Tensor) -> Tensor:
        """Rows of the table."""
        per_axis = self.buckets(offset).unbind(dim=-1)
        second = per_axis[1] if len(per_axis) > 1 else self.span // 2
        return per_axis[0] * self.span + second

    def logits(self, pairs: Tensor, learned: Tensor) -> Tensor:
        """(m, M) to (H, m, M)."""
        return functional.embedding(pairs, learned).permute(2, 0, 1)
