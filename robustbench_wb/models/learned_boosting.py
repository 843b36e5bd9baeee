"""The boosting family with coefficients that are learned."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from robustbench_wb.models.sockets import Place, Residual


class LearnedBoostingResidual(Residual):
    """``a x + b x0 + F(c x + d x0)`` with learned (a, b, c, d) per layer, from (1, 0, 1, 0): the standard residual.

    The family of :class:`~robustbench_wb.models.residual.BoostingResidual`, whose t the output map of F stands for.
    RECONSTRUCTED: a control of ours; arXiv 2506.10371 is not known to learn them.
    """

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.coefficients = nn.Parameter(torch.tensor([1.0, 0.0, 1.0, 0.0]))

    def forward(self, x: Tensor, x0: Tensor, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        """(B, N, d) to (B, N, d)."""
        a, b, c, d = self.coefficients
        joined: Tensor = a * x + b * x0 + sublayer(c * x + d * x0)
        return joined
