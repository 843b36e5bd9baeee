"""Baseline that predicts the most frequent class."""

from typing import ClassVar

import torch
from torch import Tensor

from robustbench_wb.training.shortcuts.shortcut import LookupBaseline


class Majority(LookupBaseline):
    """Predicts the most frequent class of the training split, without reading the input."""

    name: ClassVar[str] = "majority"
    kinds: ClassVar[int] = 1

    def features(self, tokens: Tensor) -> Tensor:
        """Return zeros, int64 (B,)."""
        return torch.zeros(len(tokens), dtype=torch.int64, device=tokens.device)
