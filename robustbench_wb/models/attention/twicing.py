"""Twicing attention (Abdullaev & Nguyen, ICLR 2025, as implemented)."""

from dataclasses import replace

from torch import Tensor

from robustbench_wb.models.attention.base import attend
from robustbench_wb.models.attention.per_head import PerHeadAttention
from robustbench_wb.models.sockets import Context, Place


class TwicingAttention(PerHeadAttention):
    """``A V + A (V - A V) = (2 A - A^2) V``: what smoothing took away is smoothed and given back. No parameters.

    Layers before ``first_layer`` are plain; the published language model starts at 14 of 16. A watcher is told A.
    """

    def __init__(self, place: Place, first_layer: int = 0) -> None:
        super().__init__(place)
        self.twice = place.layer >= first_layer

    def mix(self, q: Tensor, k: Tensor, v: Tensor, context: Context) -> Tensor:
        """The outputs of the heads, (B, H, N, p)."""
        once = attend(q, k, v, context)
        if not self.twice:
            return once
        # A (2 V - A V), fused a second time: A itself is never written out.
        return attend(q, k, 2 * v - once, replace(context, watch=None))
