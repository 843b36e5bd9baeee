"""Bilateral self-attention: a content kernel times a position kernel, without cross terms.

RECONSTRUCTED from published descriptions of arXiv 2506.10371, because its equation was not available. The standard
logit of z = e + p expands into four terms; bilateral attention keeps content-content and position-position and drops
the two cross terms.
"""

from torch import Tensor, nn
from torch.nn import functional

from robustbench_wb.errors import UsageError
from robustbench_wb.models.attention.base import attend_joined, split_heads
from robustbench_wb.models.attention.row_blocks import is_long
from robustbench_wb.models.attention.softmax import SoftmaxAttention
from robustbench_wb.models.sockets import Context, LayerConfig


class BilateralAttention(SoftmaxAttention):
    """Bilateral attention ``softmax(logit_y + logit_p) V`` with ``logit_p = (P W_Q)(P W_K)^T / sqrt(p)`` in each layer.

    Kernel ``tied`` shares W_Q and W_K with the content (no extra parameters); ``untied`` has its own (2 d^2 parameters
    per layer). The class token has a zero row in P, so its pairs have logit_p = 0, a position kernel of 1.

    Raises:
        UsageError: the kernel is unknown.
    """

    position = "separate"

    def __init__(self, config: LayerConfig, kernel: str = "tied") -> None:
        super().__init__(config)
        if kernel not in ("tied", "untied"):
            raise UsageError(f"bilateral attention has no kernel {kernel!r}; known: tied, untied")
        self.position_qk = nn.Linear(config.width, 2 * self.inner, bias=False) if kernel == "untied" else None

    def position_logits(self, context: Context) -> Tensor:
        """Return position logits (1, H, N, N), which depend on the position table only; all samples share them.

        Raises:
            UsageError: the context holds no positions.
        """
        q, k = self.factors(context)
        return q @ k.mT

    def factors(self, context: Context) -> tuple[Tensor, Tensor]:
        """Return position queries and keys, each (1, H, N, p), whose inner products are the position logits.

        Raises:
            UsageError: the context holds no positions.
        """
        if context.positions is None:
            raise UsageError("bilateral attention needs an embedding that keeps positions separate")
        # No bias vector: it would give a position to tokens that have none.
        weight = self.qkv.weight[: 2 * self.inner] if self.position_qk is None else self.position_qk.weight
        both = functional.linear(context.positions, weight)[None].chunk(2, dim=-1)
        q, k = (split_heads(part, self.heads) for part in both)
        return q * float(q.shape[-1]) ** -0.5, k

    def mix(self, q: Tensor, k: Tensor, v: Tensor, *, context: Context) -> Tensor:
        """Return head outputs (B, H, N, p) from queries, keys and values of that shape."""
        if is_long(q.shape[-2], context):
            return attend_joined(q, k, v, factors=self.factors(context), context=context)
        return super().mix(q, k, v, context=context)
