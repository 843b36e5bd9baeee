"""Multi-head softmax attention (Vaswani et al. 2017), with biases as in ViT."""

from torch import Tensor

from robustbench_wb.models.attention.base import attend
from robustbench_wb.models.attention.biased import RowBias
from robustbench_wb.models.attention.per_head import PerHeadAttention
from robustbench_wb.models.sockets import Context


class SoftmaxAttention(PerHeadAttention):
    """Softmax attention ``concat_h softmax(Q_h K_h^T / sqrt(p) + bias_h) V_h W + b``; subclasses add a bias."""

    def position_logits(self, context: Context) -> Tensor | RowBias | None:
        """Return the bias of the content logits: (1, H, N, N), a rule that computes it by rows, or None for no bias."""
        return None

    def mix(self, q: Tensor, k: Tensor, v: Tensor, *, context: Context) -> Tensor:
        """Return head outputs (B, H, N, p) from queries, keys and values of that shape."""
        return attend(q, k, v, context=context, bias=self.position_logits(context))
