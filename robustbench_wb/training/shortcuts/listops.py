"""What can be said of a ListOps expression without evaluating anything below its root."""

from typing import ClassVar

import torch
from torch import Tensor

from robustbench_wb.tasks.listops import shortcuts
from robustbench_wb.tasks.listops.expression import DIGITS, VOCABULARY
from robustbench_wb.training.shortcuts.shortcut import Lookup


class RootOperator(Lookup):
    """The root's operator alone. The published scores of most models on ListOps are about this one's, 36.5 %."""

    name: ClassVar[str] = "root-operator"
    kinds: ClassVar[int] = VOCABULARY

    def features(self, tokens: Tensor) -> Tensor:
        """int64 (B,)."""
        return torch.from_numpy(shortcuts.root_operator(tokens.cpu().numpy())).to(tokens.device)


class RootAndLiterals(Lookup):
    """The root's operator, and the digits that are its own arguments: about 48 % at the published parameters."""

    name: ClassVar[str] = "root-and-literals"
    kinds: ClassVar[int] = VOCABULARY * (DIGITS + 1)

    def features(self, tokens: Tensor) -> Tensor:
        """int64 (B,)."""
        return torch.from_numpy(shortcuts.root_and_literals(tokens.cpu().numpy())).to(tokens.device)
