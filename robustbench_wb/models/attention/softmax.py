"""Multi-head softmax attention (Vaswani et al. 2017), with biases as in ViT."""

from torch import Tensor

from robustbench_wb.models.attention.base import attend
from robustbench_wb.models.attention.biased import RowBias
from robustbench_wb.models.attention.per_head import PerHeadAttention
from robustbench_wb.models.sockets import Context


class SoftmaxAttention(PerHeadAttention):
    """``concat_h softmax(Q_h K_h^T / sqrt(p) + bias_h) V_h``, then a linear map; bias is 0 here."""

    def position_logits(self, context: Context) -> Tensor | RowBias | None:
        """What is added to the content logits: (1, H, N, N), or a rule that makes it by rows, or None."""
        return None

    def mix(self, q: Tensor, k: Tensor, v: Tensor, context: Context) -> Tensor:
        """The outputs of the heads, (B, H, N, p)."""
        return attend(q, k, v, context, self.position_logits(context))
