"""Uniform random noise in the ball: a control. An attack that breaks fewer samples than this is faulty."""

from typing import ClassVar

from pydantic import Field

from robustbench_wb.norms import L2_NORM, LINF, Norm
from robustbench_wb.stressors.attacks.attack import Attack
from robustbench_wb.stressors.attacks.batch import Batch
from robustbench_wb.stressors.attacks.oracle import Oracle


class Noise(Attack):
    """Independent uniform draws from the ball, clamped to the box; a sample is broken if any draw is misclassified."""

    kind = "control"
    judged: ClassVar[bool] = True

    draws: int = Field(default=10, ge=1)
    """Draws per sample."""

    @property
    def step_passes(self) -> tuple[int, int]:
        """One forward pass and no gradient."""
        return 1, 0

    @property
    def iterations(self) -> int:
        """Draws per run: each step is one draw."""
        return self.draws

    def begin(self, batch: Batch, seed: int) -> None:
        """Start at the clean image."""
        batch.x = batch.originals

    def move(self, batch: Batch, oracle: Oracle) -> None:
        """Classify the next draw."""
        shape, seed = tuple(batch.x.shape[1:]), oracle.job.seed
        noise = self.norm.inside(batch.ids, shape, seed=seed, label=self.stream, step=batch.step)
        batch.x = self.project(batch, batch.originals + batch.radius * noise)
        oracle.logits(batch)


class NoiseLinf(Noise):
    """Uniform noise on every pixel value."""

    name: ClassVar[str] = "noise-linf"
    norm: ClassVar[Norm] = LINF


class NoiseL2(Noise):
    """Uniform draws from the Euclidean ball."""

    name: ClassVar[str] = "noise-l2"
    norm: ClassVar[Norm] = L2_NORM
