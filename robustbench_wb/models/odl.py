"""The overcomplete dictionary half of CRATE-alpha (Yang et al. 2024, arXiv 2405.20299, as implemented)."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from robustbench_wb.models.sockets import Place
from robustbench_wb.models.sparse import SparseStep


class OvercompleteDictionary(SparseStep):
    """``x + D_1 z``, z the non-negative code of y = LN(x) in D after two ISTA steps from zero; D, D_1 (d, ratio d).

    ``z_1 = relu(eta D^T y - eta lam)`` and ``z = relu(z_1 - eta D^T (D z_1 - y) - eta lam)``, y a column. The derived
    step would decode with D itself and have no skip; the implementation, which this follows, has D_1 and a skip.
    """

    def __init__(self, place: Place, eta: float = 0.1, lam: float = 0.1, ratio: int = 4) -> None:
        super().__init__(eta, lam)
        self.norm = nn.LayerNorm(place.width, eps=place.norm_eps)
        # The start of the published training: kaiming uniform with fan-in d for both.
        bound = math.sqrt(6.0 / place.width)
        self.dictionary = nn.Parameter(torch.empty(place.width, ratio * place.width).uniform_(-bound, bound))
        self.decoder = nn.Parameter(torch.empty(place.width, ratio * place.width).uniform_(-bound, bound))

    def code(self, x: Tensor) -> Tensor:
        """The sparse code z, (B, N, ratio d), of a stream (B, N, d): what sparsity is measured on."""
        y = self.norm(x)
        threshold = self.eta * self.lam
        first = torch.relu(self.eta * (y @ self.dictionary) - threshold)
        error = functional.linear(first, self.dictionary) - y
        return torch.relu(first - self.eta * (error @ self.dictionary) - threshold)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, d) to (B, N, d); dense, unlike the code."""
        return x + functional.linear(self.code(x), self.decoder)
