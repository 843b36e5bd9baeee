"""Learned relative position bias: Swin's table (Liu et al. 2021, arXiv 2103.14030) over T5's buckets."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from robustbench_wb.models.attention.offset_bias import OffsetBiasAttention
from robustbench_wb.models.sockets import LayerConfig


class RelativeBiasAttention(OffsetBiasAttention):
    """Relative position bias ``softmax(Q K^T / sqrt(p) + T[bucket(p_i - p_j)]) V``; each head and layer has a table T.

    Each axis is divided into buckets (Raffel et al. 2020, arXiv 1910.10683). Offsets below ``exact`` have a bucket
    each; offsets up to ``far`` share ``steps`` log-spaced buckets per sign; offsets beyond ``far`` fall into the last
    bucket. The table therefore does not depend on the sequence length: images of at most ``exact`` patches per side use
    exactly Swin's table, and texts use its middle column. Pairs with the class token have bias 0.
    """

    pairs_name = "offset buckets"

    def __init__(self, config: LayerConfig, *, exact: int = 16, steps: int = 8, far: int = 128) -> None:
        super().__init__(config)
        self.exact, self.steps, self.far = exact, steps, far
        self.span = 2 * (exact + steps) - 1
        self.table = nn.Parameter(torch.empty(self.span**2, config.heads).normal_(std=0.02))

    def buckets(self, offset: Tensor) -> Tensor:
        """Return bucket numbers (0 to ``span`` - 1) of integer offsets of any shape; offset 0 has the middle bucket."""
        size = offset.abs()
        step = torch.log(size.clamp(min=self.exact) / self.exact) / math.log(self.far / self.exact) * self.steps
        bucket = torch.where(size < self.exact, size, self.exact + step.floor().clamp(max=self.steps - 1))
        return (offset.sign() * bucket).long() + self.span // 2

    @property
    def learned(self) -> Tensor:
        """Bias table (span^2, H)."""
        return self.table

    def pairs(self, offset: Tensor) -> Tensor:
        """Return row numbers (m, M) of the bias table for offsets (m, M, axes)."""
        per_axis = self.buckets(offset).unbind(dim=-1)
        second = per_axis[1] if len(per_axis) > 1 else self.span // 2
        return per_axis[0] * self.span + second

    def logits(self, pairs: Tensor, learned: Tensor) -> Tensor:
        """Return biases (H, m, M) for row numbers (m, M) of the table."""
        return functional.embedding(pairs, learned).permute(2, 0, 1)
