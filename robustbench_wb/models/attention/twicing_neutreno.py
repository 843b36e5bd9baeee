"""Twicing attention with the pull of NeuTRENO, as in the compiled file that the authors of twicing published."""

from torch import Tensor

from robustbench_wb.models.attention.twicing import TwicingAttention
from robustbench_wb.models.sockets import Context, LayerConfig


class TwicingNeutrenoAttention(TwicingAttention):
    """Attention ``(2 A - A^2) V_l + lam (V_0 - V_l)``; V_0 are the values of the first layer, which has no pull.

    Twicing is that of Abdullaev & Nguyen (ICLR 2025), the pull that of Nguyen, Nguyen, Baraniuk (NeurIPS 2023). No
    extra parameters. ``context.watch`` receives A and V_l.
    """

    def __init__(self, config: LayerConfig, lam: float = 0.4) -> None:
        super().__init__(config)
        self.lam = lam

    def mix(self, q: Tensor, k: Tensor, v: Tensor, *, context: Context) -> Tensor:
        """Return head outputs (B, H, N, p) from queries, keys and values of that shape."""
        mixed = super().mix(q, k, v, context=context)
        first = context.carry.setdefault("neutreno values", v)
        return mixed if first is v else mixed + self.lam * (first - v)
