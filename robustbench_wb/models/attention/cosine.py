"""Cosine attention of Swin Transformer V2 (Liu et al. 2022, arXiv 2111.09883)."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from robustbench_wb.models.attention.base import attend
from robustbench_wb.models.attention.per_head import PerHeadAttention
from robustbench_wb.models.sockets import Context, LayerConfig


class CosineAttention(PerHeadAttention):
    """Cosine attention ``softmax(g_h cos(Q_h, K_h)) V_h``, with one learned sharpness g_h of at most 100 per head.

    g_h is stored as its logarithm and starts from 10. Logits lie between -g_h and g_h, whatever the lengths of queries
    and keys. The position bias of Swin V2 is not part of this class; positions are added to the stream.
    """

    def __init__(self, config: LayerConfig) -> None:
        super().__init__(config)
        self.log_sharpness = nn.Parameter(torch.full((config.heads, 1, 1), math.log(10.0)))

    def mix(self, q: Tensor, k: Tensor, v: Tensor, *, context: Context) -> Tensor:
        """Return head outputs (B, H, N, p) from queries, keys and values of that shape."""
        sharpness = self.log_sharpness.clamp(max=math.log(100.0)).exp()
        scale = sharpness * q.shape[-1] ** 0.5  # attend divides by this root
        return attend(functional.normalize(q, dim=-1) * scale, functional.normalize(k, dim=-1), v, context=context)
