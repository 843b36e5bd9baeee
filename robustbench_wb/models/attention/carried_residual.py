"""Attention with a residual that is carried from layer to layer, after Bregman's iteration for denoising."""

from torch import Tensor

from robustbench_wb.models.attention.base import attend
from robustbench_wb.models.attention.per_head import PerHeadAttention
from robustbench_wb.models.sockets import Context


class CarriedResidualAttention(PerHeadAttention):
    """Attention ``A (V_l + r)`` followed by ``r <- r + V_0 - A (V_l + r)``; r is 0 in the first layer.

    V_0 are the values of the first layer. With values that do not change between layers this is the iteration of Osher
    et al. 2005, which filters the data plus the sum of all earlier residuals.
    RECONSTRUCTED and speculative: no source prints this step. The public code of twicing attention hands a difference
    of values from layer to layer under the heading of attention boosting, and never uses it.
    ``context.watch`` receives A and V_l + r. No extra parameters.
    """

    def mix(self, q: Tensor, k: Tensor, v: Tensor, *, context: Context) -> Tensor:
        """Return head outputs (B, H, N, p) from queries, keys and values of that shape."""
        first = context.carry.setdefault("carried first values", v)
        carried = context.carry.get("carried residual")
        mixed = attend(q, k, v if carried is None else v + carried, context=context)
        left = first - mixed
        context.carry["carried residual"] = left if carried is None else carried + left
        return mixed
