"""NeuTRENO attention (Nguyen, Nguyen, Baraniuk, NeurIPS 2023, as implemented)."""

from torch import Tensor

from robustbench_wb.models.attention.base import attend
from robustbench_wb.models.attention.per_head import PerHeadAttention
from robustbench_wb.models.sockets import Context, LayerConfig


class NeutrenoAttention(PerHeadAttention):
    """NeuTRENO ``A V_l + lam (V_0 - V_l)``: pulls values towards those of the first layer, in all later layers.

    ``lam`` is 0.6 in the published vision models and 0.4 in the language model. The pull acts on each token separately,
    so padding and later tokens have no effect. ``context.watch`` receives A and V_l, without the pull.
    """

    def __init__(self, config: LayerConfig, lam: float = 0.6) -> None:
        super().__init__(config)
        self.lam = lam

    def mix(self, q: Tensor, k: Tensor, v: Tensor, *, context: Context) -> Tensor:
        """Return head outputs (B, H, N, p) from queries, keys and values of that shape."""
        mixed = attend(q, k, v, context=context)
        first = context.carry.setdefault("neutreno values", v)
        return mixed if first is v else mixed + self.lam * (first - v)
