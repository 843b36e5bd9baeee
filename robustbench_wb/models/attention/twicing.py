"""Twicing attention (Abdullaev & Nguyen, ICLR 2025, as implemented)."""

from dataclasses import replace

from torch import Tensor

from robustbench_wb.models.attention.base import attend
from robustbench_wb.models.attention.per_head import PerHeadAttention
from robustbench_wb.models.sockets import Context, LayerConfig


class TwicingAttention(PerHeadAttention):
    """Twicing attention ``A V + A (V - A V) = (2 A - A^2) V``: adds the smoothed residual back. No extra parameters.

    Layers before ``first_layer`` are plain softmax attention; the published language model starts at layer 14 of 16.
    ``context.watch`` receives A.
    """

    def __init__(self, config: LayerConfig, first_layer: int = 0) -> None:
        super().__init__(config)
        self.twice = config.layer >= first_layer

    def mix(self, q: Tensor, k: Tensor, v: Tensor, *, context: Context) -> Tensor:
        """Return head outputs (B, H, N, p) from queries, keys and values of that shape."""
        once = attend(q, k, v, context=context)
        if not self.twice:
            return once
        # A (2 V - A V) as a second fused call: A itself is never stored.
        return attend(q, k, 2 * v - once, context=replace(context, watch=None))
