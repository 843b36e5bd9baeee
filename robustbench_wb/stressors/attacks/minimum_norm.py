"""Minimum-norm attacks: one search for the nearest error of each sample answers a whole ladder of radii."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from robustbench_wb.norms import Norm
from robustbench_wb.stressors.attacks.attack import BallBoundedStressor
from robustbench_wb.stressors.attacks.attack_losses import margin
from robustbench_wb.stressors.attacks.distances import DISTANCE
from robustbench_wb.stressors.attacks.model_queries import TINY, LossAndGradient, value_and_gradient
from robustbench_wb.stressors.model_access import ModelAccess
from robustbench_wb.stressors.sample_batch import PerturbedBatch, SampleBatch


class NearestErrors:
    """Counted queries of a minimum-norm search to the model, and the nearest misclassified image of each sample.

    Queries take rows, int64 (B,), which are positions in the batch, and one image (B, C, H, W) for each.
    """

    def __init__(self, samples: SampleBatch, access: ModelAccess, norm: Norm) -> None:
        self.access, self.norm = access, norm
        self.clean, self.labels, self.ids, self.seed = samples.inputs, samples.labels, samples.ids, samples.seed
        self.images = samples.inputs.clone()
        """(N, C, H, W): the nearest error; the clean image where none was found."""
        self.distance = torch.full((len(self.ids),), torch.inf, device=self.clean.device)
        """float32 (N,): distance of the nearest error, infinite where none was found."""
        self.failed = torch.zeros(len(self.ids), dtype=torch.bool, device=self.clean.device)
        """bool (N,): some logits or gradient were not finite."""
        self.zero, self.tiny = self.failed.clone(), self.failed.clone()
        """bool (N,): some input gradient was zero, or smaller than ``TINY``, in all entries."""
        self.queries = torch.zeros(len(self.ids), dtype=torch.int32, device=self.clean.device)
        """int32 (N,): images of the sample that the model classified."""
        self.gradients = torch.zeros_like(self.queries)
        """int32 (N,): input gradients of the sample."""

    @property
    def rows(self) -> Tensor:
        """All rows, int64 (N,)."""
        return torch.arange(len(self.ids), device=self.clean.device)

    def gradient(self, images: Tensor) -> LossAndGradient:
        """Query the margin loss and its input gradient at one image for each sample, (N, C, H, W).

        Gradients that are not finite are replaced by zero, and their samples fail.
        """
        answer = value_and_gradient(
            self.access.model, images, lambda logits: margin(logits, self.labels), draws=self.access.draws
        )
        self.gradients += 1
        usable = torch.isfinite(answer.gradient).flatten(1).all(1)
        self.failed |= ~usable
        largest = answer.gradient.abs().flatten(1).amax(1)
        self.zero |= largest == 0
        self.tiny |= (largest > 0) & (largest < TINY)
        self._record(self.rows, images, answer.logits)
        gradient = torch.where(usable.view(-1, 1, 1, 1), answer.gradient, 0.0)
        return LossAndGradient(answer.logits, answer.losses, gradient)

    def are_wrong(self, rows: Tensor, images: Tensor) -> Tensor:
        """Classify images of different rows; bool (B,): misclassified."""
        return self._record(rows, images, self._logits(images))

    def probe(self, rows: Tensor, images: Tensor) -> Tensor:
        """Classify images of which a row may have several, and keep none; bool (B,): misclassified."""
        logits = self._logits(images)
        self.queries += torch.bincount(rows, minlength=len(self.ids)).int()
        finite = torch.isfinite(logits).all(1)
        self.failed[rows[~finite]] = True
        return finite & (logits.argmax(1) != self.labels[rows])

    @torch.no_grad()
    def _logits(self, images: Tensor) -> Tensor:
        return self.access.predict(images)

    def _record(self, rows: Tensor, images: Tensor, logits: Tensor) -> Tensor:
        self.queries[rows] += 1
        finite = torch.isfinite(logits).all(1)
        self.failed[rows] |= ~finite
        wrong = finite & (logits.argmax(1) != self.labels[rows])
        distance = self.norm.distance(images - self.clean[rows])
        nearer = wrong & (distance < self.distance[rows])
        self.images[rows[nearer]], self.distance[rows[nearer]] = images[nearer], distance[nearer]
        return wrong

    def enter(self, radius: float) -> Tensor:
        """Images (N, C, H, W) in the balls of a radius: the nearest error, or the image on the line to it.

        The latter are classified: they may be errors.
        """
        share = (radius / self.distance).clamp(max=1.0).view(-1, 1, 1, 1)
        images = torch.where(share < 1, self.clean + share * (self.images - self.clean), self.images)
        outside = torch.nonzero((self.distance > radius) & self.distance.isfinite())[:, 0]
        if len(outside):
            wrong = outside[self.are_wrong(outside, images[outside])]
            self.distance[wrong] = self.distance[wrong].clamp(max=radius)  # rounding may carry it over the edge
        return images


class MinimumNormAttack(BallBoundedStressor):
    """Base of attacks that look for the nearest error of each sample, and do not know the ball.

    A sample is broken at every radius that is not smaller than the distance of its nearest error. The search takes the
    whole budget for every sample and counts for the largest radius of the ladder. The evidence of every radius holds
    the distance of each sample for which an error was found, ``distance/ID``.
    """

    sweeps: ClassVar[bool] = True

    @property
    def stream(self) -> str:
        """Label of the attack's random stream: its signature without the radius."""
        return ";".join(part for part in self.signature.split(";") if not part.startswith("eps="))

    @property
    @abstractmethod
    def passes(self) -> tuple[int, int]:
        """Forward passes and input gradients spent on each sample, with one forward pass at the radius."""

    @abstractmethod
    def search(self, near: NearestErrors) -> None:
        """Query the model; ``near`` keeps the nearest error of each sample."""

    def apply(self, batch: SampleBatch, access: ModelAccess) -> PerturbedBatch:
        """Search for the nearest error of every sample in the batch."""
        return self.sweep(batch, access, [self])[0]

    def sweep(self, batch: SampleBatch, access: ModelAccess, rungs: Sequence[Self]) -> list[PerturbedBatch]:
        """Answer every radius of an ascending ladder by one search."""
        parts = []
        for first in range(0, max(1, len(batch.ids)), access.batch_size):
            mask = torch.zeros(len(batch.ids), dtype=torch.bool)
            mask[first : first + access.batch_size] = True
            part = batch.select(mask.numpy())
            parts.append(self._answers(part, access, rungs))
            access.advance(len(part.ids))
        return [_joined([part[rung] for part in parts]) for rung in range(len(rungs))]

    def _answers(self, batch: SampleBatch, access: ModelAccess, rungs: Sequence[Self]) -> list[PerturbedBatch]:
        """Results at each radius for samples that fit into one forward pass."""
        near = NearestErrors(batch, access, self.norm)
        if len(batch.ids):
            self.search(near)
        images: list[Tensor] = []
        spent: list[Tensor] = []
        for rung in reversed(rungs):  # an error on the way into a ball lies in all larger ones
            before = near.queries.clone() if spent else torch.zeros_like(near.queries)
            images.append(near.enter(rung.radius))
            spent.append(near.queries - before)
        return [
            _answer(near, rung.radius, images=images.pop(), queries=spent.pop(), last=rung is rungs[-1])
            for rung in rungs
        ]


def _answer(near: NearestErrors, radius: float, *, images: Tensor, queries: Tensor, last: bool) -> PerturbedBatch:
    broken = near.distance <= radius
    failed = near.failed & ~broken
    gradients = near.gradients if last else torch.zeros_like(near.gradients)
    asked = near.gradients > 0
    held = int((~broken & ~failed).sum())
    found = zip(near.ids.tolist(), near.distance.tolist(), near.distance.isfinite().tolist(), strict=True)
    draws = near.access.draws
    return PerturbedBatch(
        inputs=torch.where(broken.view(-1, 1, 1, 1), near.images, images),
        forwards=(draws * queries).cpu().numpy(),
        backwards=(draws * gradients).cpu().numpy(),
        broken=broken.cpu().numpy(),
        failed=failed.cpu().numpy(),
        evidence={
            "held": held,
            "held_to_the_end": held,  # every search takes the whole budget
            "samples": len(near.ids),
            "gradients": int(asked.sum()),
            "zero_gradients": int((near.zero & asked).sum()),
            "tiny_gradients": int((near.tiny & asked).sum()),
            **{f"{DISTANCE}{number}": distance for number, distance, finite in found if finite},
        },
    )


def _joined(parts: Sequence[PerturbedBatch]) -> PerturbedBatch:
    """Results of consecutive samples as one."""
    evidence: Counter[str] = Counter()
    for part in parts:
        evidence.update(part.evidence)
    return PerturbedBatch(
        inputs=torch.cat([part.inputs for part in parts]),
        forwards=np.concatenate([part.forwards for part in parts]),
        backwards=np.concatenate([part.backwards for part in parts]),
        broken=np.concatenate([known for part in parts if (known := part.broken) is not None]),
        failed=np.concatenate([known for part in parts if (known := part.failed) is not None]),
        evidence=dict(evidence),
    )
