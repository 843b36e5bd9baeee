"""Residual rules: how the attention sublayer F is joined to the stream x."""

from collections.abc import Callable

from torch import Tensor

from robustbench_wb.models.sockets import LayerConfig, Residual


class StandardResidual(Residual):
    """Standard residual ``x + F(x)`` (He et al. 2016)."""

    def __init__(self, config: LayerConfig) -> None:
        super().__init__()

    def forward(self, x: Tensor, x0: Tensor, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the next stream (B, N, d) from the stream ``x``, the embedding output ``x0`` and the sublayer F."""
        return x + sublayer(x)


class BoostingResidual(Residual):
    """Boosting residual ``a x + b x0 + t F(c x + d x0)``: the family of the classical boosting iterations.

    RECONSTRUCTED: it is unknown which member arXiv 2506.10371 prints. Members by (a, b, c, d, t):

    - (-1, 0, 1, 1, 1), the default: the literal SOS step ``F(x0 + x) - x`` (Romano & Elad 2015)
    - (1, 0, 1, 0, 1): the standard residual
    - (-1, 2, 1, 0, 1): SOS in the strengthened variable
    - (1-g, g, 1, 0, 1): a pull towards the data
    - (1, 0, -1, 1, 1): L2 boosting
    - (1-t-tr, 0, r, 1, t): SOS with strengthening r and step t
    """

    def __init__(
        self, config: LayerConfig, *, a: float = -1.0, b: float = 0.0, c: float = 1.0, d: float = 1.0, t: float = 1.0
    ) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d, self.t = a, b, c, d, t

    def forward(self, x: Tensor, x0: Tensor, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the next stream (B, N, d) from the stream ``x``, the embedding output ``x0`` and the sublayer F."""
        return self.a * x + self.b * x0 + self.t * sublayer(self.c * x + self.d * x0)

    def extra_repr(self) -> str:
        """Return the coefficients as text, for the printed form of the module."""
        return f"a={self.a}, b={self.b}, c={self.c}, d={self.d}, t={self.t}"
