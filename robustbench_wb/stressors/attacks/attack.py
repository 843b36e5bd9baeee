"""What must be true of every native attack: the ball, the box, true labels, and the active-set search."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from pydantic import Field
from torch import Tensor

from robustbench_wb.errors import MeasurementError
from robustbench_wb.norms import Norm
from robustbench_wb.spec import Exact
from robustbench_wb.stressors.attacks.batch import Batch
from robustbench_wb.stressors.attacks.oracle import Oracle
from robustbench_wb.stressors.attacks.search import search
from robustbench_wb.stressors.stressor import Kind, PerturbedBatch, SampleBatch, Stressor

TOLERANCE = 1e-6
"""By how much float32 rounding may carry an image over the edge of its ball or box."""


def refuse_outside(name: str, clean: Tensor, stressed: Tensor, norm: Norm | None, radius: float) -> None:
    """Check every image against the box [0, 1] and, when the norm is known, against its ball.

    Raises:
        MeasurementError: an image is outside, or not finite.
    """
    if not bool(torch.isfinite(stressed).all()):
        raise MeasurementError(f"{name} produced pixels that are not finite")
    if len(stressed) == 0:
        return
    if float(stressed.min()) < -TOLERANCE or float(stressed.max()) > 1 + TOLERANCE:
        raise MeasurementError(f"{name} left the pixel range [0, 1]")
    if norm is not None:
        farthest = float(norm.distance(stressed - clean).max())
        if farthest > radius + TOLERANCE * max(1.0, radius * 10):
            raise MeasurementError(f"{name} left its {norm.name} ball: distance {farthest:.6g} > {radius:.6g}")


class Bounded(Stressor):
    """A stressor inside a ball of radius eps around each image, in pixel space [0, 1], that looks for errors."""

    axis: ClassVar[str | None] = "eps"
    norm: ClassVar[Norm]

    eps: Exact = Field(gt=0)
    """Radius of the ball, an exact fraction; unit: full pixel range."""

    @property
    def threat(self) -> tuple[str, str]:
        """The ball."""
        return (self.norm.name, self.strength)

    @property
    def radius(self) -> float:
        """The radius as a float."""
        return float(self.eps)

    def adversarial(self) -> bool:
        """Always: it looks for errors."""
        return True

    def check(self, clean: Tensor, stressed: Tensor) -> None:
        """Refuse images outside ball or box."""
        refuse_outside(self.signature, clean, stressed, self.norm, self.radius)


class Attack(Bounded):
    """One walk inside the ball.

    A new attack states its norm and writes ``begin`` and ``move``; projection to ball and box, dropping of broken
    samples, refilling of the batch, restarts, ladders of radii and cost counting are done here and in the search.
    """

    kind: ClassVar[Kind | None] = "white-box"
    sweeps: ClassVar[bool] = True
    judged: ClassVar[bool] = False
    """Whether a move judges where it arrives. If not, the search looks at the last iterate of a run."""

    @property
    def iterations(self) -> int:
        """Steps in one run."""
        return 1

    @property
    def runs(self) -> int:
        """Runs per sample, each from its own start."""
        return 1

    @property
    def step_passes(self) -> tuple[int, int]:
        """Forward passes and input gradients of one step."""
        return 1, 1

    @property
    def passes(self) -> tuple[int, int] | None:
        """Forward passes and input gradients spent on a sample that is never broken."""
        forwards, backwards = self.step_passes
        look = 0 if self.judged else 1
        return self.runs * (self.iterations * forwards + look), self.runs * self.iterations * backwards

    @property
    def stream(self) -> str:
        """The label of the attack's noise: its signature without the radius, so that a ladder shares its starts."""
        return ";".join(part for part in self.signature.split(";") if not part.startswith("eps="))

    @abstractmethod
    def begin(self, batch: Batch, seed: int) -> None:
        """Place new rows, all of one run, at their start (``batch.x``), and fill ``batch.memory``.

        They stand at the image or, where ``batch.warm``, at what another radius has left: :meth:`start` stays there.
        """

    @abstractmethod
    def move(self, batch: Batch, oracle: Oracle) -> None:
        """Ask the oracle about the rows and move them (``batch.x``), each by its own step of its own run."""

    def project(self, batch: Batch, candidate: Tensor) -> Tensor:
        """Bring candidates (B, C, H, W) into the balls around the originals, then into the box."""
        return (batch.originals + self.norm.project(candidate - batch.originals, batch.radius)).clamp(0.0, 1.0)

    def start(self, batch: Batch, seed: int) -> Tensor:
        """Where a warm row stands; else a uniform draw from the ball, brought into the box, another for each run."""
        noise = self.norm.inside(batch.ids, tuple(batch.x.shape[1:]), seed, self.stream, batch.run)
        drawn = self.project(batch, batch.originals + batch.radius * noise)
        return torch.where(batch.warm.view(-1, 1, 1, 1), batch.x, drawn)

    def contains(self, batch: Batch, images: Tensor) -> Tensor:
        """Which images (B, C, H, W) lie in the balls around the originals, bool (B,)."""
        return self.norm.distance(images - batch.originals) <= batch.radius.flatten() + TOLERANCE

    def ticket(self, batch: Batch) -> Tensor:
        """A number for each step of each run, int64 (B,): the noise of one is not that of another."""
        return batch.run * self.iterations + batch.step

    def apply(self, job: SampleBatch) -> PerturbedBatch:
        """Search for an error on every sample of the job."""
        return search(self, job, [self.radius])[0]

    def sweep(self, job: SampleBatch, rungs: Sequence[Self]) -> list[PerturbedBatch]:
        """Search at every radius of a ladder at once, by bisection."""
        return search(self, job, [rung.radius for rung in rungs])
