"""Base class of the native image attacks: ball, box, true labels and the active-set search."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from pydantic import Field
from torch import Tensor

from robustbench_wb.errors import MeasurementError
from robustbench_wb.norms import Norm
from robustbench_wb.spec import Exact
from robustbench_wb.stressors.attacks.active_rows import ActiveRows
from robustbench_wb.stressors.attacks.active_set_search import search_active_set
from robustbench_wb.stressors.attacks.model_queries import ModelQueries
from robustbench_wb.stressors.model_access import ModelAccess
from robustbench_wb.stressors.sample_batch import PerturbedBatch, SampleBatch
from robustbench_wb.stressors.stressor import AttackKind, Stressor

TOLERANCE = 1e-6
"""Distance by which float32 rounding may carry an image over the edge of its ball or box; unit: full pixel range."""


def reject_outside(name: str, clean: Tensor, perturbed: Tensor, *, norm: Norm | None, radius: float) -> None:
    """Check that images (B, C, H, W) are finite, inside the box [0, 1] and, if a norm is given, inside their balls.

    Raises:
        MeasurementError: an image is outside, or not finite; ``name`` is the attack that the message blames.
    """
    if not bool(torch.isfinite(perturbed).all()):
        raise MeasurementError(f"{name} produced pixels that are not finite")
    if len(perturbed) == 0:
        return
    if float(perturbed.min()) < -TOLERANCE or float(perturbed.max()) > 1 + TOLERANCE:
        raise MeasurementError(f"{name} left the pixel range [0, 1]")
    if norm is not None:
        farthest = float(norm.distance(perturbed - clean).max())
        if farthest > radius + TOLERANCE * max(1.0, radius * 10):
            raise MeasurementError(f"{name} left its {norm.name} ball: distance {farthest:.6g} > {radius:.6g}")


class BallBoundedStressor(Stressor):
    """Base of stressors that look for errors inside a ball of radius eps around each image, in pixel space [0, 1]."""

    axis: ClassVar[str | None] = "eps"
    norm: ClassVar[Norm]

    eps: Exact = Field(gt=0)
    """Radius of the ball, an exact fraction; unit: full pixel range."""

    @property
    def threat(self) -> tuple[str, str]:
        """Norm and radius of the ball: attacks with equal balls are comparable."""
        return (self.norm.name, self.strength)

    @property
    def radius(self) -> float:
        """Radius as a float."""
        return float(self.eps)

    def adversarial(self) -> bool:
        """Return True: every stressor of this class looks for errors."""
        return True

    def check(self, clean: Tensor, perturbed: Tensor) -> None:
        """Reject images outside the ball or the box.

        Raises:
            MeasurementError: an image is outside, or not finite.
        """
        reject_outside(self.signature, clean, perturbed, norm=self.norm, radius=self.radius)


class Attack(BallBoundedStressor):
    """Base of iterative attacks inside the ball.

    A new attack states its norm and implements ``begin`` and ``move``. This class and the search provide projection to
    ball and box, early stopping of broken samples, refilling of the batch, restarts, ladders of radii and cost counts.
    """

    kind: ClassVar[AttackKind | None] = "white-box"
    sweeps: ClassVar[bool] = True
    classifies_iterates: ClassVar[bool] = False
    """Whether ``move`` classifies the iterate that it arrives at. If not, the search classifies the last iterate of
    each run."""

    @property
    def iterations(self) -> int:
        """Steps per run."""
        return 1

    @property
    def runs(self) -> int:
        """Runs per sample, each from its own starting point."""
        return 1

    @property
    def step_passes(self) -> tuple[int, int]:
        """Forward passes and input gradients per step."""
        return 1, 1

    @property
    def passes(self) -> tuple[int, int] | None:
        """Forward passes and input gradients spent on a sample that is never broken."""
        forwards, backwards = self.step_passes
        look = 0 if self.classifies_iterates else 1
        return self.runs * (self.iterations * forwards + look), self.runs * self.iterations * backwards

    @property
    def stream(self) -> str:
        """Label of the attack's random stream: its signature without the radius, so that a ladder shares its starts."""
        return ";".join(part for part in self.signature.split(";") if not part.startswith("eps="))

    @abstractmethod
    def begin(self, batch: ActiveRows, seed: int) -> None:
        """Place new rows, all of one run, at their starting points (``batch.x``) and fill ``batch.memory``.

        Rows arrive at the clean image or, where ``batch.warm`` is true, at the result of a trial at another radius;
        ``start`` leaves warm rows there.
        """

    @abstractmethod
    def move(self, batch: ActiveRows, oracle: ModelQueries) -> None:
        """Query the model at the rows and move them (``batch.x``), each by one step of its own run."""

    def project(self, batch: ActiveRows, candidate: Tensor) -> Tensor:
        """Project candidates (B, C, H, W) onto the balls around the clean images, then clamp them to the box."""
        return (batch.originals + self.norm.project(candidate - batch.originals, batch.radius)).clamp(0.0, 1.0)

    def start(self, batch: ActiveRows, seed: int) -> Tensor:
        """Starting points (B, C, H, W): the current place of warm rows, else a uniform draw from the ball for each run.

        Draws are clamped to the box.
        """
        noise = self.norm.uniform_in_ball(
            batch.ids, tuple(batch.x.shape[1:]), seed=seed, label=self.stream, step=batch.run
        )
        drawn = self.project(batch, batch.originals + batch.radius * noise)
        return torch.where(batch.warm.view(-1, 1, 1, 1), batch.x, drawn)

    def contains(self, batch: ActiveRows, images: Tensor) -> Tensor:
        """Mask of images (B, C, H, W) that lie in the balls around the clean images, bool (B,)."""
        return self.norm.distance(images - batch.originals) <= batch.radius.flatten() + TOLERANCE

    def draw_number(self, batch: ActiveRows) -> Tensor:
        """A different number for each step of each run, int64 (B,), so that no two steps share their random draws."""
        return batch.run * self.iterations + batch.step

    def apply(self, batch: SampleBatch, access: ModelAccess) -> PerturbedBatch:
        """Search for an adversarial example of every sample in the batch."""
        return search_active_set(self, batch, access, radii=[self.radius])[0]

    def sweep(self, batch: SampleBatch, access: ModelAccess, rungs: Sequence[Self]) -> list[PerturbedBatch]:
        """Search at every radius of an ascending ladder at once, by bisection over the radii."""
        return search_active_set(self, batch, access, radii=[rung.radius for rung in rungs])
