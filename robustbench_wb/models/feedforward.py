"""The second half of a block, with its norm and its skip, if it has one."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from robustbench_wb.models.sockets import FeedForward, Place
from robustbench_wb.models.sparse import SparseStep


class Mlp(FeedForward):
    """``x + W_2 gelu(W_1 LN(x))`` with ``ratio`` times d hidden units (Dosovitskiy et al. 2021, eq. 3).

    With ``post`` the norm comes last: ``LN(x + W_2 gelu(W_1 x))`` (Devlin et al. 2019, arXiv 1810.04805).
    """

    def __init__(self, place: Place, ratio: int = 4, post: bool = False) -> None:
        super().__init__()
        self.post = post
        self.norm = nn.LayerNorm(place.width, eps=place.norm_eps)
        self.hidden = nn.Linear(place.width, ratio * place.width)
        self.out = nn.Linear(ratio * place.width, place.width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, d) to (B, N, d)."""
        update: Tensor = self.out(functional.gelu(self.hidden(x if self.post else self.norm(x))))
        joined: Tensor = self.norm(x + update) if self.post else x + update
        return joined


class Ista(SparseStep):
    """One proximal gradient step towards a non-negative sparse code of z = LN(x) in the dictionary D (d, d).

    ``relu(z + eta D^T (z - D z) - eta lam)``, z a column (Yu et al. 2023, arXiv 2306.01129). There is no
    skip: the z inside the step is the only path.
    """

    def __init__(self, place: Place, eta: float = 0.1, lam: float = 0.1) -> None:
        super().__init__(eta, lam)
        self.norm = nn.LayerNorm(place.width, eps=place.norm_eps)
        # Kaiming uniform with gain sqrt(2) (He et al. 2015): U(-sqrt(6/d), sqrt(6/d)).
        bound = math.sqrt(6.0 / place.width)
        self.dictionary = nn.Parameter(torch.empty(place.width, place.width).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, d) to (B, N, d); about half of the entries are exactly zero."""
        z = self.norm(x)
        error = z - functional.linear(z, self.dictionary)  # rows: z - z D^T
        return torch.relu(z + self.eta * (error @ self.dictionary) - self.eta * self.lam)
