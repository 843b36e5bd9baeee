"""Multi-head subspace self-attention (MSSA) of CRATE (Yu et al. 2023, arXiv 2306.01129, as implemented)."""

from torch import Tensor, nn

from robustbench_wb.models.attention.base import attend, merge_heads, split_heads
from robustbench_wb.models.sockets import Attention, Context, LayerConfig


class SubspaceAttention(Attention):
    """MSSA: with W = X U^T (no bias), head k is ``softmax(W_k W_k^T / sqrt(p)) W_k``, so W is query, key and value.

    The output map is a free linear map, as in the implementation; the paper has U. It has a bias in CRATE and no bias
    (``bias=False``) in CRATE-alpha and CRATE-BERT. A single head as wide as the model has no output map.
    """

    def __init__(self, config: LayerConfig, bias: bool = True) -> None:
        super().__init__()
        self.heads = config.heads
        inner = config.heads * config.dim_head
        self.subspaces = nn.Linear(config.width, inner, bias=False)
        lone = config.heads == 1 and inner == config.width
        self.out = nn.Identity() if lone else nn.Linear(inner, config.width, bias=bias)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Mix the normalised stream (B, N, d) into an update (B, N, d)."""
        w = split_heads(self.subspaces(x), self.heads)
        mixed: Tensor = self.out(merge_heads(attend(w, w, w, context=context)))
        return mixed
