"""NeuTRENO (Nguyen, Nguyen, Baraniuk, NeurIPS 2023, as implemented)."""

from torch import Tensor

from robustbench_wb.models.attention.base import attend
from robustbench_wb.models.attention.per_head import PerHeadAttention
from robustbench_wb.models.sockets import Context, Place


class NeutrenoAttention(PerHeadAttention):
    """``A V_l + lam (V_0 - V_l)``: a pull towards the values of the first layer, in every layer but that one.

    ``lam`` is 0.6 in the published vision models and 0.4 in the language model. Token by token, so nothing of padding
    or of later tokens enters. A watcher is told A and V_l, without the pull.
    """

    def __init__(self, place: Place, lam: float = 0.6) -> None:
        super().__init__(place)
        self.lam = lam

    def mix(self, q: Tensor, k: Tensor, v: Tensor, context: Context) -> Tensor:
        """The outputs of the heads, (B, H, N, p)."""
        mixed = attend(q, k, v, context)
        first = context.carry.setdefault("neutreno values", v)
        return mixed if first is v else mixed + self.lam * (first - v)
