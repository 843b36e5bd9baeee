"""How the attention half is joined to the stream."""

from collections.abc import Callable

from torch import Tensor

from robustbench_wb.models.sockets import Place, Residual


class StandardResidual(Residual):
    """``x + F(x)`` (He et al. 2016)."""

    def __init__(self, place: Place) -> None:
        super().__init__()

    def forward(self, x: Tensor, x0: Tensor, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        """(B, N, d) to (B, N, d)."""
        return x + sublayer(x)


class BoostingResidual(Residual):
    """``a x + b x0 + t F(c x + d x0)``, the family that holds the classical boosting iterations.

    RECONSTRUCTED: which member arXiv 2506.10371 prints is unknown. As (a, b, c, d, t): the default (-1, 0, 1,
        1, 1) is the literal SOS step ``F(x0 + x) - x`` (Romano & Elad 2015); (1, 0, 1, 0, 1) is the standard
        residual; (-1, 2, 1, 0, 1) SOS in the strengthened variable; (1-g, g, 1, 0, 1) a pull towards the
        data; (1, 0, -1, 1, 1) L2 boosting; (1-t-tr, 0, r, 1, t) SOS with strengthening r and step t.
    """

    def __init__(
        self, place: Place, a: float = -1.0, b: float = 0.0, c: float = 1.0, d: float = 1.0, t: float = 1.0
    ) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d, self.t = a, b, c, d, t

    def forward(self, x: Tensor, x0: Tensor, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        """(B, N, d) to (B, N, d)."""
        return self.a * x + self.b * x0 + self.t * sublayer(self.c * x + self.d * x0)

    def extra_repr(self) -> str:
        """The coefficients, for printing."""
        return f"a={self.a}, b={self.b}, c={self.c}, d={self.d}, t={self.t}"
