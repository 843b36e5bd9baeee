"""Logistic regression on pixels in a row."""

from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from robustbench_wb.training.shortcuts.shortcut import Linear


class Pixels(Linear):
    """Every pixel has a weight of its own, wherever the others are bright or dark."""

    name: ClassVar[str] = "pixels"
    steps: ClassVar[int] = 30

    def width(self) -> int:
        """The pixels, without the class token."""
        return self.shape.length - 1

    def features(self, tokens: Tensor) -> Tensor:
        """Levels in [0, 1], float32 (B, F)."""
        padded = functional.pad(tokens, (0, self.shape.length - tokens.shape[1]))
        return padded[:, 1:].float() / self.shape.vocabulary
