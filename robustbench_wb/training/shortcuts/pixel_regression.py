"""Baseline for pixel sequences: logistic regression on pixels."""

from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from robustbench_wb.training.shortcuts.shortcut import LinearBaseline


class PixelRegression(LinearBaseline):
    """Logistic regression with one weight per pixel and class, hence without interactions between pixels."""

    name: ClassVar[str] = "pixels"
    steps: ClassVar[int] = 30

    def width(self) -> int:
        """Return the number of pixels (the class token is left out)."""
        return self.shape.length - 1

    def features(self, tokens: Tensor) -> Tensor:
        """Return pixel levels in [0, 1], float32 (B, F)."""
        padded = functional.pad(tokens, (0, self.shape.length - tokens.shape[1]))
        return padded[:, 1:].float() / self.shape.vocabulary
