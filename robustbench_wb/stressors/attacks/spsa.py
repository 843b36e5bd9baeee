"""SPSA: gradient ascent with gradients estimated from loss differences alone (Uesato et al. 2018, section 4)."""

from fractions import Fraction
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.norms import L2_NORM, LINF, Norm
from robustbench_wb.spec import Exact
from robustbench_wb.stressors.attacks.active_rows import ActiveRows
from robustbench_wb.stressors.attacks.attack import Attack
from robustbench_wb.stressors.attacks.model_queries import ModelQueries

BETAS = (0.9, 0.999)
"""Decay rates of Adam's two moments (Kingma & Ba 2015)."""


class Spsa(Attack):
    """Adam on the margin loss, from the clean image; a step costs 2 * samples + 1 forward passes and no gradient."""

    kind = "black-box"
    classifies_iterates: ClassVar[bool] = True

    steps: int = Field(default=100, ge=1)
    samples: int = Field(default=128, ge=1)
    """Random directions per step."""
    delta: Exact = Field(default=Fraction(1, 100), gt=0)
    """Distance by which each pixel value is moved either way for a difference; unit: full pixel range."""
    rate: Exact = Field(default=Fraction(1, 100), gt=0)
    """Adam's step length; unit: full pixel range."""

    @property
    def step_passes(self) -> tuple[int, int]:
        """Two forward passes per direction and one for the new iterate; no gradient."""
        return 2 * self.samples + 1, 0

    @property
    def iterations(self) -> int:
        """Steps of Adam."""
        return self.steps

    def begin(self, batch: ActiveRows, seed: int) -> None:
        """Start at the clean image with zero moments."""
        batch.x = batch.originals
        batch.memory["mean"] = torch.zeros_like(batch.x)
        batch.memory["square"] = torch.zeros_like(batch.x)

    def move(self, batch: ActiveRows, oracle: ModelQueries) -> None:
        """Estimate the gradient, take one step of Adam and classify the new iterate."""
        gradient, memory = self.estimate(batch, oracle), batch.memory
        memory["mean"] = BETAS[0] * memory["mean"] + (1 - BETAS[0]) * gradient
        memory["square"] = BETAS[1] * memory["square"] + (1 - BETAS[1]) * gradient.square()
        count = (batch.step + 1).view(-1, 1, 1, 1)
        mean, square = memory["mean"] / (1 - BETAS[0] ** count), memory["square"] / (1 - BETAS[1] ** count)
        batch.x = self.project(batch, batch.x + float(self.rate) * mean / (square.sqrt() + 1e-8))
        oracle.logits(batch)

    def estimate(self, batch: ActiveRows, oracle: ModelQueries) -> Tensor:
        """Mean over directions v in {-1, 1}^d of v (L(x + delta v) - L(x - delta v)) / (2 delta), (B, C, H, W).

        Both points are clamped to the box. They may lie outside the ball, so none of them counts as an error.
        """
        total, delta, chunk = (
            torch.zeros_like(batch.x),
            float(self.delta),
            max(1, oracle.access.batch_size // len(batch)),
        )
        for first in range(0, self.samples, chunk):
            count = min(chunk, self.samples - first)
            ways = torch.stack([self._way(batch, first + number, oracle.samples.seed) for number in range(count)])
            high, low = (
                oracle.probe_margins(batch, (batch.x + sign * delta * ways).clamp(0.0, 1.0)) for sign in (1, -1)
            )
            total += (ways * ((high - low) / (2 * delta))[:, :, None, None, None]).sum(0)
        return total / self.samples

    def _way(self, batch: ActiveRows, number: int, seed: int) -> Tensor:
        """One random direction for each row."""
        shape, label = tuple(batch.x.shape[1:]), f"{self.stream}/{number}"
        return rng.signs(batch.ids, shape, seed=seed, label=label, step=batch.step)


class SpsaLinf(Spsa):
    """SPSA projected onto the Linf ball."""

    name: ClassVar[str] = "spsa-linf"
    norm: ClassVar[Norm] = LINF


class SpsaL2(Spsa):
    """SPSA projected onto the Euclidean ball."""

    name: ClassVar[str] = "spsa-l2"
    norm: ClassVar[Norm] = L2_NORM
