"""Bag-of-tokens baselines: token frequencies without positions (bytes, pixel levels or symbols)."""

from typing import ClassVar

import torch
from torch import Tensor

from robustbench_wb.models.batching import text_lengths
from robustbench_wb.models.shape import PAD
from robustbench_wb.training.shortcuts.shortcut import LinearBaseline


def shares(tokens: Tensor, vocabulary: int) -> Tensor:
    """Return the square root of every id's share among the real tokens of each row (B, L): float32 (B, V)."""
    counts = torch.zeros(len(tokens), vocabulary, device=tokens.device)
    counts.scatter_add_(1, tokens, (tokens != PAD).float())
    return (counts / counts.sum(1, keepdim=True).clamp(min=1)).sqrt()


class BagOfTokens(LinearBaseline):
    """Logistic regression on the bag of tokens; for document pairs, on both bags concatenated."""

    name: ClassVar[str] = "bag-of-tokens"

    def width(self) -> int:
        """Return the number of features: one per id and document."""
        return self.shape.documents * self.shape.vocabulary

    def features(self, tokens: Tensor) -> Tensor:
        """Return the bags of tokens, float32 (B, F)."""
        parts = torch.split(tokens, self.shape.length, dim=1) if self.shape.documents == 2 else (tokens,)
        bags = [shares(part, self.shape.vocabulary) for part in parts]
        bags += [torch.zeros_like(bags[0])] * (
            self.shape.documents - len(bags)
        )  # the second document may have been trimmed away
        return torch.cat(bags, dim=1)


class BagOverlap(LinearBaseline):
    """Logistic regression for document pairs, on differences of the shares of every id and of the lengths."""

    name: ClassVar[str] = "bag-overlap"

    def width(self) -> int:
        """Return the number of features: one per id, and one for the lengths."""
        return self.shape.vocabulary + 1

    def features(self, tokens: Tensor) -> Tensor:
        """Return absolute differences between both documents, float32 (B, F)."""
        first, second = tokens[:, : self.shape.length], tokens[:, self.shape.length :]
        sizes = (text_lengths(first) - text_lengths(second)).abs().float() / self.shape.length
        apart = (shares(first, self.shape.vocabulary) - shares(second, self.shape.vocabulary)).abs()
        return torch.cat([apart, sizes[:, None]], dim=1)
