"""Block without a feed-forward half."""

from torch import Tensor

from robustbench_wb.models.sockets import FeedForward, LayerConfig


class NoFeedForward(FeedForward):
    """Feed-forward half that returns the stream unchanged, for models of attention and skips only."""

    def __init__(self, config: LayerConfig) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        """Return the stream (B, N, d) itself."""
        return x
