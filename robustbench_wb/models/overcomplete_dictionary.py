"""Overcomplete dictionary (ODL), the feed-forward half of CRATE-alpha (Yang et al. 2024, arXiv 2405.20299)."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from robustbench_wb.models.sockets import LayerConfig
from robustbench_wb.models.sparse import SparseStep


class OvercompleteDictionary(SparseStep):
    """Overcomplete dictionary half ``x + D_1 z``, with z a non-negative sparse code of y = LN(x).

    D and D_1 are (d, ratio d). z takes two ISTA steps from zero, with y as a column:
    ``z_1 = relu(eta D^T y - eta lam)`` and ``z = relu(z_1 - eta D^T (D z_1 - y) - eta lam)``. The paper's derivation
    decodes with D itself and has no skip; this class follows the implementation, which has D_1 and a skip.
    """

    def __init__(self, config: LayerConfig, *, eta: float = 0.1, lam: float = 0.1, ratio: int = 4) -> None:
        super().__init__(eta, lam)
        self.norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        # Initialisation of the published training: Kaiming uniform with fan-in d for both.
        bound = math.sqrt(6.0 / config.width)
        self.dictionary = nn.Parameter(torch.empty(config.width, ratio * config.width).uniform_(-bound, bound))
        self.decoder = nn.Parameter(torch.empty(config.width, ratio * config.width).uniform_(-bound, bound))

    def code(self, x: Tensor) -> Tensor:
        """Return the sparse code z (B, N, ratio d) of a stream (B, N, d); sparsity is measured on it."""
        y = self.norm(x)
        threshold = self.eta * self.lam
        first = torch.relu(self.eta * (y @ self.dictionary) - threshold)
        error = functional.linear(first, self.dictionary) - y
        return torch.relu(first - self.eta * (error @ self.dictionary) - threshold)

    def forward(self, x: Tensor) -> Tensor:
        """Map the stream (B, N, d) to the next stream (B, N, d), which is dense, unlike the code."""
        return x + functional.linear(self.code(x), self.decoder)
