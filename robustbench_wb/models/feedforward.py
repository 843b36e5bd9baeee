"""Feed-forward halves of a block, each with its own norm and, where it has one, its skip connection."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from robustbench_wb.models.sockets import FeedForward, LayerConfig
from robustbench_wb.models.sparse import SparseStep


class Mlp(FeedForward):
    """MLP ``x + W_2 gelu(W_1 LN(x))`` with ``ratio`` times d hidden units (Dosovitskiy et al. 2021, eq. 3).

    With ``post`` the norm comes last: ``LN(x + W_2 gelu(W_1 x))`` (Devlin et al. 2019, arXiv 1810.04805).
    """

    def __init__(self, config: LayerConfig, ratio: int = 4, post: bool = False) -> None:
        super().__init__()
        self.post = post
        self.norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.hidden = nn.Linear(config.width, ratio * config.width)
        self.out = nn.Linear(ratio * config.width, config.width)

    def forward(self, x: Tensor) -> Tensor:
        """Map the stream (B, N, d) to the next stream (B, N, d)."""
        update: Tensor = self.out(functional.gelu(self.hidden(x if self.post else self.norm(x))))
        joined: Tensor = self.norm(x + update) if self.post else x + update
        return joined


class Ista(SparseStep):
    """ISTA step of CRATE: one proximal gradient step towards a non-negative sparse code of z = LN(x).

    With the dictionary D (d, d) and z as a column it computes ``relu(z + eta D^T (z - D z) - eta lam)`` (Yu et al.
    2023, arXiv 2306.01129). There is no skip connection; the z inside the step is the only path.
    """

    def __init__(self, config: LayerConfig, eta: float = 0.1, lam: float = 0.1) -> None:
        super().__init__(eta, lam)
        self.norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        # Kaiming uniform with gain sqrt(2) (He et al. 2015): U(-sqrt(6/d), sqrt(6/d)).
        bound = math.sqrt(6.0 / config.width)
        self.dictionary = nn.Parameter(torch.empty(config.width, config.width).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """Map the stream (B, N, d) to a sparse code (B, N, d), about half of whose entries are exactly zero."""
        z = self.norm(x)
        error = z - functional.linear(z, self.dictionary)  # rows: z - z D^T
        return torch.relu(z + self.eta * (error @ self.dictionary) - self.eta * self.lam)
