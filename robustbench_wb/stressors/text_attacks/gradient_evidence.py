"""Record of zero and tiny gradients that an attack received; credibility is graded by it."""

import torch
from torch import Tensor

from robustbench_wb.stressors.attacks.model_queries import TINY


class GradientEvidence:
    """For each sample: whether a gradient was computed, and whether one was zero or tiny in all entries."""

    def __init__(self, samples: int) -> None:
        self.asked, self.zero, self.tiny = (torch.zeros(samples, dtype=torch.bool) for _ in range(3))

    def record(self, rows: Tensor, gradient: Tensor) -> None:
        """Record the gradients (B, L, d) of some samples (B,)."""
        if not len(rows):
            return
        rows, largest = rows.cpu(), gradient.abs().flatten(1).amax(1).cpu()
        self.asked[rows] = True
        self.zero[rows] |= largest == 0
        self.tiny[rows] |= (largest > 0) & (largest < TINY)

    def evidence(self) -> dict[str, int]:
        """Numbers of samples; counts of several batches add up."""
        return {
            "gradients": int(self.asked.sum()),
            "zero_gradients": int(self.zero.sum()),
            "tiny_gradients": int(self.tiny.sum()),
        }
