"""Multi-head subspace self-attention (MSSA) of CRATE (Yu et al. 2023, arXiv 2306.01129, as implemented)."""

from torch import Tensor, nn

from robustbench_wb.models.attention.base import attend, merge_heads, split_heads
from robustbench_wb.models.sockets import Attention, Context, Place


class SubspaceAttention(Attention):
    """With W = X U^T (no bias), head k is ``softmax(W_k W_k^T / sqrt(p)) W_k``: W is query, key and value.

    The heads go through a linear map of their own: the implementation's choice, where the paper has U. It has a
    bias in CRATE, and none (``bias=False``) in CRATE-alpha and CRATE-BERT. One head as wide as the model has no map.
    """

    def __init__(self, place: Place, bias: bool = True) -> None:
        super().__init__()
        self.heads = place.heads
        inner = place.heads * place.dim_head
        self.subspaces = nn.Linear(place.width, inner, bias=False)
        lone = place.heads == 1 and inner == place.width
        self.out = nn.Identity() if lone else nn.Linear(inner, place.width, bias=bias)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """(B, N, d) to (B, N, d)."""
        w = split_heads(self.subspaces(x), self.heads)
        mixed: Tensor = self.out(merge_heads(attend(w, w, w, context)))
        return mixed
