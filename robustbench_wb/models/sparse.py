"""Base class of sparse-coding feed-forward halves, whose two constants are part of the model state."""

import torch
from torch import Tensor

from robustbench_wb.models.sockets import FeedForward


class SparseStep(FeedForward):
    """Feed-forward half that steps towards a sparse code, with step size ``eta`` and sparsity penalty ``lam``.

    Both are plain numbers but belong to the state: otherwise a checkpoint trained with another lambda would load
    without an error and give wrong results. Loading a state sets both; assign ``lam`` afterwards to vary it.
    """

    def __init__(self, eta: float, lam: float) -> None:
        super().__init__()
        self.eta, self.lam = eta, lam

    def get_extra_state(self) -> Tensor:
        """Return (eta, lam), float64 on the CPU, stored in a state dictionary under ``_extra_state``."""
        return torch.tensor([self.eta, self.lam], dtype=torch.float64, device="cpu")

    def set_extra_state(self, state: Tensor) -> None:
        """Set eta and lam from a stored state."""
        self.eta, self.lam = (float(value) for value in state)

    def extra_repr(self) -> str:
        """Return the constants as text, for the printed form of the module."""
        return f"eta={self.eta}, lam={self.lam}"
