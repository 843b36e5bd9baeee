"""What sparse-coding halves of a block share: their two constants, which travel with the weights."""

from typing import Any

import torch
from torch import Tensor

from robustbench_wb.models.sockets import FeedForward


class SparseStep(FeedForward):
    """A half that steps towards a sparse code, with step size ``eta`` and penalty ``lam``.

    Both are plain numbers, yet part of the state: a checkpoint made with another lambda would load cleanly and be
    silently wrong. Loading a state sets them; assign ``lam`` afterwards to vary it.
    """

    def __init__(self, eta: float, lam: float) -> None:
        super().__init__()
        self.eta, self.lam = eta, lam

    def get_extra_state(self) -> Tensor:
        """(eta, lam), float64, on the CPU; in a state dictionary under ``_extra_state``."""
        return torch.tensor([self.eta, self.lam], dtype=torch.float64, device="cpu")

    def set_extra_state(self, state: Any) -> None:
        """Take both from a state."""
        self.eta, self.lam = (float(value) for value in state)

    def extra_repr(self) -> str:
        """The constants, for printing."""
        return f"eta={self.eta}, lam={self.lam}"
