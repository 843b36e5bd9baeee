"""Heads: maps from the last stream to logits."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from robustbench_wb.errors import UsageError
from robustbench_wb.models.shape import Pool
from robustbench_wb.models.sockets import Context, Head


class ClsHead(Head):
    """Class-token head ``LN(x_cls) W + b``.

    A layer norm acts on each token separately, so this serves both ViT's final norm and CRATE's head norm. ``eps``
    overrides the norm's eps where it differs from that of the blocks.
    """

    def __init__(self, width: int, classes: int, norm_eps: float, eps: float | None = None) -> None:
        super().__init__(width, classes, norm_eps)
        self.norm = nn.LayerNorm(width, eps=norm_eps if eps is None else eps)
        self.linear = nn.Linear(width, classes)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Map the last stream (B, N, d) to logits (B, classes)."""
        logits: Tensor = self.linear(self.norm(x[:, 0]))
        return logits


class PoolerHead(Head):
    """BERT's pooler head ``tanh(x_cls W_p + b_p) W + b`` (Devlin et al. 2019, arXiv 1810.04805, as implemented)."""

    def __init__(self, width: int, classes: int, norm_eps: float) -> None:
        super().__init__(width, classes, norm_eps)
        self.pooler = nn.Linear(width, width)
        self.linear = nn.Linear(width, classes)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Map the last stream (B, N, d) to logits (B, classes)."""
        logits: Tensor = self.linear(self.pooler(x[:, 0]).tanh())
        return logits


class MeanHead(Head):
    """Mean-pooling head ``LN(mean of x over real tokens) W + b``; padding does not count."""

    def __init__(self, width: int, classes: int, norm_eps: float) -> None:
        super().__init__(width, classes, norm_eps)
        self.norm = nn.LayerNorm(width, eps=norm_eps)
        self.linear = nn.Linear(width, classes)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Map the last stream (B, N, d) to logits (B, classes)."""
        logits: Tensor = self.linear(self.norm(real_mean(x, context)))
        return logits


class PairHead(Head):
    """Document-pair head ``W_2 GELU(W_1 [a, b, a * b, a - b])`` (Tay et al. 2021, arXiv 2011.04006, as implemented).

    a and b are the layer-normalised class tokens of the two documents, or with ``pool="mean"`` the means over their
    real tokens.
    """

    def __init__(self, width: int, classes: int, norm_eps: float, pool: Pool = "mean") -> None:
        super().__init__(width, classes, norm_eps)
        self.pool = pool
        self.norm = nn.LayerNorm(width, eps=norm_eps)
        self.compare = nn.Sequential(nn.Linear(4 * width, width), nn.GELU(), nn.Linear(width, classes))

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Map the stream (2B, N, d), all first documents before all second documents, to logits (B, classes)."""
        a, b = self.norm(x[:, 0] if self.pool == "cls" else real_mean(x, context)).chunk(2)
        logits: Tensor = self.compare(torch.cat([a, b, a * b, a - b], dim=-1))
        return logits


def real_mean(x: Tensor, context: Context) -> Tensor:
    """Return the mean (B, d) of the stream (B, N, d) over the tokens that are not padding."""
    if context.keep is None:
        return x.mean(1)
    keep = context.keep[..., None].to(x.dtype)
    return (x * keep).sum(1) / keep.sum(1)


class TiedHead(Head):
    """Language-model head ``LN(x) E^T``, tied to the word embedding matrix E (Press & Wolf 2017).

    With ``norm=False`` it is ``x E^T``.
    """

    def __init__(self, width: int, classes: int, norm_eps: float, norm: bool = True) -> None:
        super().__init__(width, classes, norm_eps)
        self.norm = nn.LayerNorm(width, eps=norm_eps) if norm else nn.Identity()

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Map the last stream (B, N, d) to next-token logits (B, N, V).

        Raises:
            UsageError: the embedding has no word embedding matrix.
        """
        if context.words is None:
            raise UsageError("a language-model head needs a text embedding with a word embedding matrix")
        return functional.linear(self.norm(x), context.words)
