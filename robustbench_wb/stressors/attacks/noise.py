"""Blind draws from the ball: what is broken without looking. An attack that finds less than this is at fault."""

from typing import ClassVar

from pydantic import Field

from robustbench_wb.norms import L2_NORM, LINF, Norm
from robustbench_wb.stressors.attacks.attack import Attack
from robustbench_wb.stressors.attacks.batch import Batch
from robustbench_wb.stressors.attacks.oracle import Oracle


class Noise(Attack):
    """Independent uniform draws from the ball, brought into the box; a sample is broken when any of them is wrong."""

    kind = "control"
    judged: ClassVar[bool] = True

    draws: int = Field(default=10, ge=1)
    """Draws per sample."""

    @property
    def step_passes(self) -> tuple[int, int]:
        """No gradient."""
        return 1, 0

    @property
    def iterations(self) -> int:
        """One draw a step."""
        return self.draws

    def begin(self, batch: Batch, seed: int) -> None:
        """At the image."""
        batch.x = batch.originals

    def move(self, batch: Batch, oracle: Oracle) -> None:
        """The next draw."""
        noise = self.norm.inside(batch.ids, tuple(batch.x.shape[1:]), oracle.job.seed, self.stream, batch.step)
        batch.x = self.project(batch, batch.originals + batch.radius * noise)
        oracle.logits(batch)


class NoiseLinf(Noise):
    """Every pixel value moved by its own uniform amount."""

    name: ClassVar[str] = "noise-linf"
    norm: ClassVar[Norm] = LINF


class NoiseL2(Noise):
    """A uniform draw from the Euclidean ball."""

    name: ClassVar[str] = "noise-l2"
    norm: ClassVar[Norm] = L2_NORM
