"""What must be true of every native attack: the ball, the box, true labels, and the active-set search."""

from abc import abstractmethod
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from robustbench_wb.errors import MeasurementError
from robustbench_wb.norms import Norm
from robustbench_wb.spec import Exact
from robustbench_wb.stressors.attacks.search import search
from robustbench_wb.stressors.stressor import Job, Stressed, Stressor

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


class Attack(Stressor):
    """A gradient attack inside a ball of radius eps around each image, in pixel space [0, 1].

    A new attack states its norm and writes ``start`` and ``propose``; projection to ball and box, dropping of broken
    samples, refilling of the batch, restarts and cost counting are done here and in the search.
    """

    axis: ClassVar[str | None] = "eps"
    norm: ClassVar[Norm]

    eps: Exact = Field(gt=0)
    """Radius of the ball, an exact fraction; unit: full pixel range."""

    @property
    def radius(self) -> float:
        """The radius as a float."""
        return float(self.eps)

    @property
    def iterations(self) -> int:
        """Gradient steps in one run."""
        return 1

    @property
    def runs(self) -> int:
        """Runs per sample, each from its own start."""
        return 1

    def adversarial(self) -> bool:
        """Always: it looks for errors."""
        return True

    @abstractmethod
    def start(self, images: Tensor, ids: Tensor, seed: int, run: int) -> Tensor:
        """Where run number ``run`` begins, before projection: (B, C, H, W)."""

    @abstractmethod
    def propose(self, current: Tensor, gradient: Tensor) -> Tensor:
        """The next iterate before projection, given the loss gradient at ``current``."""

    def project(self, images: Tensor, candidate: Tensor) -> Tensor:
        """Bring a candidate into the ball around ``images``, then into the box."""
        radius = torch.full((len(images), 1, 1, 1), self.radius, device=images.device)
        return (images + self.norm.project(candidate - images, radius)).clamp(0.0, 1.0)

    def apply(self, job: Job) -> Stressed:
        """Search for an error on every sample of the job."""
        return search(self, job)

    def check(self, clean: Tensor, stressed: Tensor) -> None:
        """Refuse images outside ball or box."""
        refuse_outside(self.signature, clean, stressed, self.norm, self.radius)
