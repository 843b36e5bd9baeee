"""Multi-head softmax attention (Vaswani et al. 2017), with biases as in ViT."""

from torch import Tensor, nn

from robustbench_wb.models.attention.base import attend, merge_heads, split_heads
from robustbench_wb.models.sockets import Attention, Context, Place


class SoftmaxAttention(Attention):
    """``concat_h softmax(Q_h K_h^T / sqrt(p) + bias_h) V_h``, then a linear map; bias is 0 here."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.heads = place.heads
        self.inner = place.heads * place.dim_head
        self.qkv = nn.Linear(place.width, 3 * self.inner)
        self.out = nn.Linear(self.inner, place.width)

    def position_logits(self, context: Context) -> Tensor | None:
        """What is added to the content logits, (1, H, N, N), or None."""
        return None

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """(B, N, d) to (B, N, d)."""
        q, k, v = (split_heads(part, self.heads) for part in self.qkv(x).chunk(3, dim=-1))
        mixed: Tensor = self.out(merge_heads(attend(q, k, v, context, self.position_logits(context))))
        return mixed
