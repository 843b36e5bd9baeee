"""FMN: fast minimum-norm attacks by adaptive norm constraints (Pintor et al. 2021, algorithm 1) in Linf, L2 and L1."""

import math
from abc import abstractmethod
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from robustbench_wb.norms import L1_NORM, L2_NORM, LINF, Norm
from robustbench_wb.spec import Exact, parse_exact
from robustbench_wb.stressors.attacks.minimum_norm import MinimumNormAttack, NearestErrors
from robustbench_wb.stressors.stressor import AttackKind

SHRINKAGE = (0.05, 0.0001)
"""Share by which the radius grows or shrinks, in the first and in the last step (gamma in the paper)."""
LAST_STEP = 0.01
"""Length of the last step as a share of the first."""


def annealed(first: float, last: float, share: float) -> float:
    """Value between ``first`` and ``last`` after a share of the steps, along half a cosine."""
    return last + (first - last) * (1 + math.cos(math.pi * share)) / 2


class Fmn(MinimumNormAttack):
    """Gradient steps on the margin loss inside a ball whose radius follows the decision boundary.

    The radius shrinks at an error and grows otherwise. Two additions to the paper: until the first error the radius
    never shrinks, and values at an end of the pixel range that the gradient pushes out of it are left out of the
    gradient. Without the latter, images with many black pixels stop short of the boundary, because those values use up
    the radius.
    """

    kind: ClassVar[AttackKind | None] = "white-box"

    steps: int = Field(default=100, ge=1)
    step: Exact = Field(default=parse_exact("1"), gt=0)
    """Euclidean length of the first step; unit: full pixel range. The last one has a hundredth of it."""

    @property
    def passes(self) -> tuple[int, int]:
        """One forward pass and one gradient per step, one forward pass for the last iterate and one at the radius."""
        return self.steps + 2, self.steps

    @abstractmethod
    def dual_norm(self, gradient: Tensor) -> Tensor:
        """Rise of a linear function with gradients (B, C, H, W) per unit of distance, (B,)."""

    def search(self, near: NearestErrors) -> None:
        """Take all steps; the last iterate is classified as well."""
        delta, radius = torch.zeros_like(near.clean), torch.full_like(near.distance, torch.inf)
        for number in range(1, self.steps + 1):
            found, share, x = near.distance.isfinite(), number / self.steps, near.clean + delta
            answer = near.gradient(x)
            slope = torch.where(torch.where(answer.gradient > 0, x < 1, x > 0), answer.gradient, 0.0)
            wrong = answer.logits.argmax(1) != near.labels
            change = annealed(SHRINKAGE[0], SHRINKAGE[1], share)
            linear = self.norm.distance(delta) - answer.losses / self.dual_norm(slope).clamp(min=1e-12)
            grown = radius * (1 + change)
            grown = torch.where(found, grown, linear if number == 1 else torch.maximum(linear, grown))
            shrunk = torch.minimum(radius * (1 - change), near.distance)
            radius = torch.where(wrong, shrunk, grown)
            length = float(self.step) * annealed(1.0, LAST_STEP, share)
            moved = self.norm.project(delta + length * L2_NORM.steepest_direction(slope), radius.view(-1, 1, 1, 1))
            delta = (near.clean + moved).clamp(0.0, 1.0) - near.clean
        near.are_wrong(near.rows, near.clean + delta)


class FmnLinf(Fmn):
    """FMN for the smallest change of the largest pixel difference."""

    name: ClassVar[str] = "fmn-linf"
    norm: ClassVar[Norm] = LINF

    def dual_norm(self, gradient: Tensor) -> Tensor:
        """L1 norm of each gradient."""
        return gradient.abs().flatten(1).sum(1)


class FmnL2(Fmn):
    """FMN for the smallest Euclidean change."""

    name: ClassVar[str] = "fmn-l2"
    norm: ClassVar[Norm] = L2_NORM

    def dual_norm(self, gradient: Tensor) -> Tensor:
        """Euclidean norm of each gradient."""
        return self.norm.distance(gradient)


class FmnL1(Fmn):
    """FMN for the smallest sum of the changes."""

    name: ClassVar[str] = "fmn-l1"
    norm: ClassVar[Norm] = L1_NORM

    def dual_norm(self, gradient: Tensor) -> Tensor:
        """Linf norm of each gradient."""
        return gradient.abs().flatten(1).amax(1)
