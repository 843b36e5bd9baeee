"""Bilateral self-attention: a kernel of content times a kernel of position, with no cross terms.

RECONSTRUCTED from the published descriptions of arXiv 2506.10371, whose equation could not be had. The
standard logit of z = e + p expands into four terms; this keeps content-content and position-position and
drops the two others.
"""

from torch import Tensor, nn
from torch.nn import functional

from robustbench_wb.errors import UsageError
from robustbench_wb.models.attention.base import attend_joined, split_heads
from robustbench_wb.models.attention.rows import is_long
from robustbench_wb.models.attention.softmax import SoftmaxAttention
from robustbench_wb.models.sockets import Context, Place


class BilateralAttention(SoftmaxAttention):
    """``softmax(logit_y + logit_p) V`` with ``logit_p = (P W_Q)(P W_K)^T / sqrt(p)``, in every layer.

    Kernel ``tied`` takes W_Q and W_K from the content (no extra parameter); ``untied`` has its own (2 d^2 a
    layer). A token without a position has a zero row in P: its pairs get logit_p = 0, which is a position
    kernel of 1.

    Raises:
        UsageError: an unknown kernel.
    """

    position = "separate"

    def __init__(self, place: Place, kernel: str = "tied") -> None:
        super().__init__(place)
        if kernel not in ("tied", "untied"):
            raise UsageError(f"bilateral attention has no kernel {kernel!r}; known: tied, untied")
        self.position_qk = nn.Linear(place.width, 2 * self.inner, bias=False) if kernel == "untied" else None

    def position_logits(self, context: Context) -> Tensor:
        """(1, H, N, N), from the table alone: the batch shares it.

        Raises:
            UsageError: the context holds no positions.
        """
        q, k = self.factors(context)
        return q @ k.mT

    def factors(self, context: Context) -> tuple[Tensor, Tensor]:
        """What the position logits are the inner products of, both (1, H, N, p).

        Raises:
            UsageError: the context holds no positions.
        """
        if context.positions is None:
            raise UsageError("bilateral attention needs an embedding that keeps positions separate")
        # No bias here: a bias would give tokens without a position one.
        weight = self.qkv.weight[: 2 * self.inner] if self.position_qk is None else self.position_qk.weight
        both = functional.linear(context.positions, weight)[None].chunk(2, dim=-1)
        q, k = (split_heads(part, self.heads) for part in both)
        return q * float(q.shape[-1]) ** -0.5, k

    def mix(self, q: Tensor, k: Tensor, v: Tensor, context: Context) -> Tensor:
        """The outputs of the heads, (B, H, N, p)."""
        if is_long(q.shape[-2], context):
            return attend_joined(q, k, v, self.factors(context), context)
        return super().mix(q, k, v, context)
