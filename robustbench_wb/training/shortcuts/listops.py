"""ListOps baselines that evaluate nothing below the root of the expression."""

from typing import ClassVar

import torch
from torch import Tensor

from robustbench_wb.tasks.listops import shortcut_features
from robustbench_wb.tasks.listops.expression import DIGITS, VOCABULARY
from robustbench_wb.training.shortcuts.shortcut import LookupBaseline


class RootOperator(LookupBaseline):
    """Predicts from the root operator alone; its 36.5 % is about the published accuracy of most models on ListOps."""

    name: ClassVar[str] = "root-operator"
    kinds: ClassVar[int] = VOCABULARY

    def features(self, tokens: Tensor) -> Tensor:
        """Return the id of the root operator, int64 (B,)."""
        return torch.from_numpy(shortcut_features.root_operator(tokens.cpu().numpy())).to(tokens.device)


class RootAndLiterals(LookupBaseline):
    """Predicts from the root operator and the digits among its arguments; about 48 % accuracy on the published task."""

    name: ClassVar[str] = "root-and-literals"
    kinds: ClassVar[int] = VOCABULARY * (DIGITS + 1)

    def features(self, tokens: Tensor) -> Tensor:
        """Return one number per root operator and its value on its own digits, int64 (B,)."""
        return torch.from_numpy(shortcut_features.root_and_literals(tokens.cpu().numpy())).to(tokens.device)
