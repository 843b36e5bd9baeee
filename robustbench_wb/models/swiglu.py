"""Gated feed-forward half SwiGLU."""

from torch import Tensor, nn
from torch.nn import functional

from robustbench_wb.models.sockets import FeedForward, LayerConfig


class SwiGlu(FeedForward):
    """SwiGLU half ``x + W_3 (silu(W_1 y) * W_2 y)`` with y = LN(x) (Shazeer 2020, arXiv 2002.05202, eq. 6).

    Each of W_1 and W_2 has ``2 ratio d / 3`` outputs, rounded down, so that the half has the parameters of an MLP with
    ``ratio d`` hidden units. All three maps have biases, which the paper omits.
    """

    def __init__(self, config: LayerConfig, ratio: int = 4) -> None:
        super().__init__()
        hidden = 2 * ratio * config.width // 3
        self.norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.gate = nn.Linear(config.width, hidden)
        self.hidden = nn.Linear(config.width, hidden)
        self.out = nn.Linear(hidden, config.width)

    def forward(self, x: Tensor) -> Tensor:
        """Map the stream (B, N, d) to the next stream (B, N, d)."""
        y = self.norm(x)
        joined: Tensor = x + self.out(functional.silu(self.gate(y)) * self.hidden(y))
        return joined
