"""From the last stream to logits."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from robustbench_wb.errors import UsageError
from robustbench_wb.models.shape import Pool
from robustbench_wb.models.sockets import Context, Head


class ClsHead(Head):
    """``LN(x_cls) W + b``. ViT's final norm and CRATE's head norm are the same: it acts token by token.

    ``eps`` is the norm's own, where it differs from that of the blocks.
    """

    def __init__(self, width: int, classes: int, norm_eps: float, eps: float | None = None) -> None:
        super().__init__(width, classes, norm_eps)
        self.norm = nn.LayerNorm(width, eps=norm_eps if eps is None else eps)
        self.linear = nn.Linear(width, classes)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """(B, N, d) to logits (B, classes)."""
        logits: Tensor = self.linear(self.norm(x[:, 0]))
        return logits


class PoolerHead(Head):
    """``tanh(x_cls W_p + b_p) W + b`` (Devlin et al. 2019, arXiv 1810.04805, as implemented)."""

    def __init__(self, width: int, classes: int, norm_eps: float) -> None:
        super().__init__(width, classes, norm_eps)
        self.pooler = nn.Linear(width, width)
        self.linear = nn.Linear(width, classes)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """(B, N, d) to logits (B, classes)."""
        logits: Tensor = self.linear(self.pooler(x[:, 0]).tanh())
        return logits


class MeanHead(Head):
    """``LN(mean of x over real tokens) W + b``: padding has no part in it."""

    def __init__(self, width: int, classes: int, norm_eps: float) -> None:
        super().__init__(width, classes, norm_eps)
        self.norm = nn.LayerNorm(width, eps=norm_eps)
        self.linear = nn.Linear(width, classes)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """(B, N, d) to logits (B, classes)."""
        logits: Tensor = self.linear(self.norm(real_mean(x, context)))
        return logits


class PairHead(Head):
    """``W_2 GELU(W_1 [a, b, a * b, a - b])`` of two documents' a and b, normalised (Tay et al. 2021, arXiv 2011.04006,
    as implemented): their class tokens, or with ``pool="mean"`` the means over their real tokens."""

    def __init__(self, width: int, classes: int, norm_eps: float, pool: Pool = "mean") -> None:
        super().__init__(width, classes, norm_eps)
        self.pool = pool
        self.norm = nn.LayerNorm(width, eps=norm_eps)
        self.compare = nn.Sequential(nn.Linear(4 * width, width), nn.GELU(), nn.Linear(width, classes))

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """(2B, N, d), first documents before second ones, to logits (B, classes)."""
        a, b = self.norm(x[:, 0] if self.pool == "cls" else real_mean(x, context)).chunk(2)
        logits: Tensor = self.compare(torch.cat([a, b, a * b, a - b], dim=-1))
        return logits


def real_mean(x: Tensor, context: Context) -> Tensor:
    """Mean of (B, N, d) over the tokens that are not padding, (B, d)."""
    if context.keep is None:
        return x.mean(1)
    keep = context.keep[..., None].to(x.dtype)
    return (x * keep).sum(1) / keep.sum(1)


class TiedHead(Head):
    """Next tokens: ``LN(x) E^T`` with the word table E of the embedding (Press & Wolf 2017); ``norm=False``: x E^T."""

    def __init__(self, width: int, classes: int, norm_eps: float, norm: bool = True) -> None:
        super().__init__(width, classes, norm_eps)
        self.norm = nn.LayerNorm(width, eps=norm_eps) if norm else nn.Identity()

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """(B, N, d) to logits (B, N, V).

        Raises:
            UsageError: the embedding has no words.
        """
        if context.words is None:
            raise UsageError("a language model needs an embedding with a word table")
        return functional.linear(self.norm(x), context.words)
