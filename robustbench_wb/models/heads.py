"""From the last stream to logits."""

from torch import Tensor, nn

from robustbench_wb.models.sockets import Head


class ClsHead(Head):
    """``LN(x_cls) W + b``. ViT's final norm and CRATE's head norm are the same: it acts token by token."""

    def __init__(self, width: int, classes: int, norm_eps: float) -> None:
        super().__init__(width, classes, norm_eps)
        self.norm = nn.LayerNorm(width, eps=norm_eps)
        self.linear = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, d) to logits (B, classes)."""
        logits: Tensor = self.linear(self.norm(x[:, 0]))
        return logits
