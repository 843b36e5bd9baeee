"""Targeted FAB: nearest point on the decision boundary (Croce & Hein 2020, "fast adaptive boundary", algorithm 1).

FAB is a minimum-norm attack: it does not know the ball and may leave it. Only points inside the ball count as errors.
"""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from robustbench_wb.norms import L2_NORM, LINF, Norm
from robustbench_wb.stressors.attacks.active_rows import ActiveRows
from robustbench_wb.stressors.attacks.model_queries import ModelQueries
from robustbench_wb.stressors.attacks.targeted import TargetedAttack

ALPHA_MAX = 0.1
"""Largest weight of the step that starts from the clean image."""
ETA = 1.05
"""Overshoot past the linearised boundary."""
BETA = 0.9
"""Backward step after a misclassified point: the next step starts at this share of its distance from the clean
image."""


def project_onto_plane(images: Tensor, normal: Tensor, height: Tensor, *, speed: Tensor) -> Tensor:
    """Project images onto the plane <normal, z - images> + height = 0 within the box [0, 1].

    Images, normal and speed are (B, C, H, W), height is (B,). All values start to move at once, each by ``speed`` per
    unit of time, and stop at the box. Speed 1 gives the nearest point in Linf; speed |normal| gives the nearest point
    in L2, which is clip(x - t sign(height) normal) for one t. The height falls piecewise linearly, so one sort of the
    times at which values stop yields t. If no point of the box lies on the plane, the result is the box point nearest
    to it.
    """
    size, wanted = normal.abs().flatten(1), height.abs()[:, None]
    direction = -height.sign().view(-1, 1, 1, 1) * normal.sign()
    room = torch.where(direction > 0, 1 - images, images).flatten(1)
    pace = speed.flatten(1)
    times, order = (room / pace.clamp(min=1e-12)).sort(dim=1)
    rate, full = (size * pace).gather(1, order), (size * room).gather(1, order)
    stopped = full.cumsum(1) - full
    moving = rate.flip(1).cumsum(1).flip(1)
    place = (stopped + times * moving < wanted).sum(1, keepdim=True)
    short, place = place == size.shape[1], place.clamp(max=size.shape[1] - 1)
    time = (wanted - stopped.gather(1, place)) / moving.gather(1, place).clamp(min=1e-38)
    moved = torch.where(short, room, torch.minimum(pace * time, room)).view_as(images)
    return images + direction * moved


class Fab(TargetedAttack):
    """Projection onto the linearised boundary between true and target class, pulled toward the clean image.

    Runs of the first restart start at the clean image, later ones at a random point within half the radius.
    """

    classifies_iterates: ClassVar[bool] = True

    @abstractmethod
    def speed(self, size: Tensor) -> Tensor:
        """Speed of each value on the shortest way to a plane whose normal has absolute entries ``size``, same shape."""

    def begin(self, batch: ActiveRows, seed: int) -> None:
        """Start rows with no misclassified point yet."""
        super().begin(batch, seed)
        later = (batch.run >= self.targets).view(-1, 1, 1, 1)
        batch.x = torch.where(later, (batch.originals + self.start(batch, seed)) / 2, batch.originals)
        batch.memory["nearest"] = batch.x
        batch.memory["distance"] = torch.full_like(batch.radius, torch.inf).flatten()

    @property
    def step_passes(self) -> tuple[int, int]:
        """Two forward passes and one gradient: the gradient at the iterate and the prediction at the next one."""
        return 2, 1

    def move(self, batch: ActiveRows, oracle: ModelQueries) -> None:
        """Take one step: a gradient, then the prediction at the point that it leads to."""
        targets = self.aim(batch, oracle)[:, None]

        def lead(logits: Tensor, labels: Tensor) -> Tensor:
            return (logits.gather(1, targets) - logits.gather(1, labels[:, None]))[:, 0]

        answer = oracle.gradient(batch, lead, inside=self.contains(batch, batch.x))
        batch.x = self._approach(batch, answer.gradient, answer.losses)
        logits = oracle.logits(batch, inside=self.contains(batch, batch.x))
        self._retreat(batch, logits.argmax(1) != batch.labels)
        self._shrink(batch, oracle)

    def _approach(self, batch: ActiveRows, normal: Tensor, height: Tensor) -> Tensor:
        """Mix steps past the plane from the iterate and from the clean image, weighted by their distances to it."""
        scale = normal.abs().flatten(1).amax(1).clamp(min=1e-38)
        normal, height = normal / scale.view(-1, 1, 1, 1), height / scale
        speed = self.speed(normal.abs())
        clean = batch.originals
        above = height + (normal * (clean - batch.x)).flatten(1).sum(1)
        step = project_onto_plane(batch.x, normal, height, speed=speed) - batch.x
        origin = project_onto_plane(clean, normal, above, speed=speed) - clean
        near, far = self.norm.distance(step), self.norm.distance(origin)
        alpha = (near / (near + far).clamp(min=1e-12)).clamp(max=ALPHA_MAX).view(-1, 1, 1, 1)
        return ((1 - alpha) * (batch.x + ETA * step) + alpha * (clean + ETA * origin)).clamp(0.0, 1.0)

    def _retreat(self, batch: ActiveRows, wrong: Tensor) -> None:
        """Remember the nearest misclassified point, and step back from it toward the clean image."""
        distance = self.norm.distance(batch.x - batch.originals)
        nearer = wrong & (distance < batch.memory["distance"])
        batch.put(nearer, "nearest", batch.x)
        batch.put(nearer, "distance", distance)
        back = batch.originals + BETA * (batch.x - batch.originals)
        batch.x = torch.where(wrong.view(-1, 1, 1, 1), back, batch.x)

    def _shrink(self, batch: ActiveRows, oracle: ModelQueries) -> None:
        """At the end of a run, classify the point where the line from the nearest error to the clean image enters the
        ball."""
        last = (batch.step == self.iterations - 1) & batch.memory["distance"].isfinite()
        if bool(last.any()):
            rows = batch.keep(last)
            share = (rows.radius / rows.memory["distance"].view(-1, 1, 1, 1)).clamp(max=1.0)
            oracle.logits(rows, rows.originals + share * (rows.memory["nearest"] - rows.originals))


class FabLinf(Fab):
    """FAB for the smallest change of the largest pixel difference."""

    name: ClassVar[str] = "fab-linf"
    norm: ClassVar[Norm] = LINF

    def speed(self, size: Tensor) -> Tensor:
        """Equal speed for all values."""
        return torch.ones_like(size)


class FabL2(Fab):
    """FAB for the smallest Euclidean change."""

    name: ClassVar[str] = "fab-l2"
    norm: ClassVar[Norm] = L2_NORM

    def speed(self, size: Tensor) -> Tensor:
        """Speed in proportion to the normal."""
        return size
