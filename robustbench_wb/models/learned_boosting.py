"""Boosting residual with learned coefficients."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from robustbench_wb.models.sockets import LayerConfig, Residual


class LearnedBoostingResidual(Residual):
    """Residual ``a x + b x0 + F(c x + d x0)`` with (a, b, c, d) learned per layer.

    Coefficients start from (1, 0, 1, 0), the standard residual. The family is that of
    ``BoostingResidual``; its factor t is absorbed by the output map of F.
    RECONSTRUCTED: this variant is a control of this project; arXiv 2506.10371 is not known to learn the coefficients.
    """

    def __init__(self, config: LayerConfig) -> None:
        super().__init__()
        self.coefficients = nn.Parameter(torch.tensor([1.0, 0.0, 1.0, 0.0]))

    def forward(self, x: Tensor, x0: Tensor, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the next stream (B, N, d) from the stream ``x``, the embedding output ``x0`` and the sublayer F."""
        a, b, c, d = self.coefficients
        joined: Tensor = a * x + b * x0 + sublayer(c * x + d * x0)
        return joined
