"""Uniform random noise in the ball: a control. An attack that breaks fewer samples than this is faulty."""

from typing import ClassVar

from pydantic import Field

from robustbench_wb.norms import L2_NORM, LINF, Norm
from robustbench_wb.stressors.attacks.active_rows import ActiveRows
from robustbench_wb.stressors.attacks.attack import Attack
from robustbench_wb.stressors.attacks.model_queries import ModelQueries


class BallNoise(Attack):
    """Independent uniform draws from the ball, clamped to the box; a sample is broken if any draw is misclassified."""

    kind = "control"
    classifies_iterates: ClassVar[bool] = True

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

    def begin(self, batch: ActiveRows, seed: int) -> None:
        """Start at the clean image."""
        batch.x = batch.originals

    def move(self, batch: ActiveRows, oracle: ModelQueries) -> None:
        """Classify the next draw."""
        shape, seed = tuple(batch.x.shape[1:]), oracle.samples.seed
        noise = self.norm.uniform_in_ball(batch.ids, shape, seed=seed, label=self.stream, step=batch.step)
        batch.x = self.project(batch, batch.originals + batch.radius * noise)
        oracle.logits(batch)


class NoiseLinf(BallNoise):
    """Uniform noise on every pixel value."""

    name: ClassVar[str] = "noise-linf"
    norm: ClassVar[Norm] = LINF


class NoiseL2(BallNoise):
    """Uniform draws from the Euclidean ball."""

    name: ClassVar[str] = "noise-l2"
    norm: ClassVar[Norm] = L2_NORM
