"""The class that most training samples have."""

from typing import ClassVar

import torch
from torch import Tensor

from robustbench_wb.training.shortcuts.shortcut import Lookup


class Majority(Lookup):
    """Reads nothing."""

    name: ClassVar[str] = "majority"
    kinds: ClassVar[int] = 1

    def features(self, tokens: Tensor) -> Tensor:
        """Zeros."""
        return torch.zeros(len(tokens), dtype=torch.int64, device=tokens.device)
