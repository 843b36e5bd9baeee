"""How often each token occurs, wherever it stands: a bag of bytes, of pixel levels, of symbols."""

from typing import ClassVar

import torch
from torch import Tensor

from robustbench_wb.models.inputs import lengths
from robustbench_wb.models.shape import PAD
from robustbench_wb.training.shortcuts.shortcut import Linear


def shares(tokens: Tensor, vocabulary: int) -> Tensor:
    """Share of every id among the real tokens of each row of (B, L), the square root of it: float32 (B, V)."""
    counts = torch.zeros(len(tokens), vocabulary, device=tokens.device)
    counts.scatter_add_(1, tokens, (tokens != PAD).float())
    return (counts / counts.sum(1, keepdim=True).clamp(min=1)).sqrt()


class BagOfTokens(Linear):
    """Of a pair of documents: both bags, one after the other."""

    name: ClassVar[str] = "bag-of-tokens"

    def width(self) -> int:
        """One number per id and document."""
        return self.shape.documents * self.shape.vocabulary

    def features(self, tokens: Tensor) -> Tensor:
        """The bags, float32 (B, F)."""
        parts = torch.split(tokens, self.shape.length, dim=1) if self.shape.documents == 2 else (tokens,)
        bags = [shares(part, self.shape.vocabulary) for part in parts]
        bags += [torch.zeros_like(bags[0])] * (self.shape.documents - len(bags))  # the second document was trimmed away
        return torch.cat(bags, dim=1)


class BagOverlap(Linear):
    """Of a pair of documents: how far the shares of every id differ, and how alike the lengths are."""

    name: ClassVar[str] = "bag-overlap"

    def width(self) -> int:
        """One number per id, and one for the lengths."""
        return self.shape.vocabulary + 1

    def features(self, tokens: Tensor) -> Tensor:
        """Absolute differences, float32 (B, F)."""
        first, second = tokens[:, : self.shape.length], tokens[:, self.shape.length :]
        sizes = (lengths(first) - lengths(second)).abs().float() / self.shape.length
        apart = (shares(first, self.shape.vocabulary) - shares(second, self.shape.vocabulary)).abs()
        return torch.cat([apart, sizes[:, None]], dim=1)
