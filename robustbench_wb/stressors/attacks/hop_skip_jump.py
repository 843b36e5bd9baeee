"""HopSkipJump: boundary attack that sees the predicted class alone (Chen, Jordan & Wainwright 2020, algorithm 2)."""

import math
from abc import abstractmethod
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.norms import L2_NORM, LINF, Norm
from robustbench_wb.stressors.attacks.minimum_norm import MinimumNormAttack, NearestErrors
from robustbench_wb.stressors.stressor import AttackKind

STARTS = 100
"""Random images that are tried as a starting point of each sample."""
SIDES = (1, 2, 4, 8)
"""Sides in pixels of the random blocks of the starting images, in turn. The paper uses single pixels, which many models
put into one class."""
HALVINGS = 16
"""Times that a step is halved before the row stays where it is."""
BISECTIONS = 20
"""Largest number of steps of a search along a line: float32 has no more digits."""


class HopSkipJump(MinimumNormAttack):
    """Walk along the decision boundary, with gradients estimated from predicted classes at random points near it."""

    kind: ClassVar[AttackKind | None] = "black-box"
    power: ClassVar[float]
    """Power of the number of pixel values whose inverse is the relative precision of a search along a line."""

    queries: int = Field(default=5000, ge=1)
    """Images of each sample that the model may classify; no logits and no gradients are used."""
    probes: int = Field(default=100, ge=2)
    """Random points of the first estimate; the one of iteration t has sqrt(t) times as many."""

    @property
    def passes(self) -> tuple[int, int]:
        """One forward pass per query and one at the radius; no gradient."""
        return self.queries + 1, 0

    @abstractmethod
    def toward(self, clean: Tensor, far: Tensor, share: Tensor) -> Tensor:
        """Point at a share (B, 1, 1, 1) of the distance from the clean images to ``far``."""

    def search(self, near: NearestErrors) -> None:
        """Find a misclassified image, then follow the boundary from there until the queries are used up."""
        edge = self._to_boundary(near, near.rows, self._start(near))
        iteration = 1
        while len(rows := self._affordable(near, iteration)):
            edge[rows] = self._jump(near, rows, edge[rows], iteration=iteration)
            iteration += 1

    def _affordable(self, near: NearestErrors, iteration: int) -> Tensor:
        """Rows with an error whose queries suffice for an iteration with one step."""
        cost = self._count(iteration) + 1 + self._bisections(near)
        return torch.nonzero(near.distance.isfinite() & (near.queries + cost <= self.queries))[:, 0]

    def _count(self, iteration: int) -> int:
        return int(self.probes * math.sqrt(iteration))

    def _bisections(self, near: NearestErrors) -> int:
        return min(BISECTIONS, math.ceil(self.power * math.log2(near.clean[0].numel())))

    def _start(self, near: NearestErrors) -> Tensor:
        """A misclassified random image for each sample, (N, C, H, W); the clean one where none was found."""
        far, shape = near.clean.clone(), near.clean.shape[1:]
        for number in range(STARTS):
            rows = torch.nonzero(near.distance.isinf() & (near.queries < self.queries))[:, 0]
            if not len(rows):
                break
            side = SIDES[number % len(SIDES)]
            coarse = (shape[0], -(-shape[1] // side), -(-shape[2] // side))
            drawn = rng.uniform(near.ids[rows], coarse, seed=near.seed, label=f"{self.stream}/start", step=number)
            images = F.interpolate(drawn, scale_factor=side)[:, :, : shape[1], : shape[2]].to(far.dtype)
            wrong = near.are_wrong(rows, images)
            far[rows[wrong]] = images[wrong]
        return far

    def _to_boundary(self, near: NearestErrors, rows: Tensor, far: Tensor) -> Tensor:
        """Misclassified images (B, C, H, W) next to the boundary between the clean images and ``far``, by bisection."""
        low, high = torch.zeros(len(rows), device=far.device), torch.ones(len(rows), device=far.device)
        for _ in range(self._bisections(near)):
            asked = torch.nonzero(near.distance[rows].isfinite() & (near.queries[rows] < self.queries))[:, 0]
            if not len(asked):
                break
            middle = (low + high)[asked] / 2
            images = self.toward(near.clean[rows[asked]], far[asked], middle.view(-1, 1, 1, 1))
            wrong = near.are_wrong(rows[asked], images)
            high[asked], low[asked] = (
                torch.where(wrong, middle, high[asked]),
                torch.where(wrong, low[asked], middle),
            )
        return self.toward(near.clean[rows], far, high.view(-1, 1, 1, 1))

    def _jump(self, near: NearestErrors, rows: Tensor, edge: Tensor, *, iteration: int) -> Tensor:
        """One iteration: estimate the gradient, step, and return to the boundary."""
        distance = self.norm.distance(edge - near.clean[rows])
        direction = self._estimate(near, rows, edge, distance=distance, iteration=iteration)
        far, length = edge.clone(), distance / math.sqrt(iteration)
        # Every row leaves the queries that it needs to return.
        limit = self.queries - self._bisections(near)
        waiting = torch.arange(len(rows), device=edge.device)
        for _ in range(HALVINGS):
            waiting = waiting[near.queries[rows[waiting]] < limit]
            if not len(waiting):
                break
            step = length[waiting].view(-1, 1, 1, 1) * direction[waiting]
            images = (edge[waiting] + step).clamp(0.0, 1.0)
            wrong = near.are_wrong(rows[waiting], images)
            far[waiting[wrong]] = images[wrong]
            waiting = waiting[~wrong]
            length[waiting] /= 2
        return self._to_boundary(near, rows, far)

    def _estimate(self, near: NearestErrors, rows: Tensor, edge: Tensor, *, distance: Tensor, iteration: int) -> Tensor:
        """Steepest direction of the estimated gradient (eq. 16), with the mean outcome as baseline, (B, C, H, W)."""
        count, values = self._count(iteration), edge[0].numel()
        # Shorter probes would vanish in the rounding of float32 pixels.
        reach = (distance / values).clamp(min=1e-6 * math.sqrt(values)).view(-1, 1, 1, 1)
        hits, weighted, plain = torch.zeros_like(distance), torch.zeros_like(edge), torch.zeros_like(edge)
        chunk = max(1, near.access.batch_size // len(rows))
        for first in range(0, count, chunk):
            numbers = torch.arange(first, min(first + chunk, count), device=rows.device)
            ways = self._ways(near, rows, iteration=iteration, numbers=numbers)
            images = (edge + reach * ways).clamp(0.0, 1.0).flatten(0, 1)
            outcomes = near.probe(rows.repeat(len(ways)), images).view(len(ways), -1)
            # One by one, so that sums do not depend on the batch.
            for way, outcome in zip(ways, 2.0 * outcomes - 1, strict=True):
                hits += outcome
                weighted += outcome.view(-1, 1, 1, 1) * way
                plain += way
        mean = (hits / count).view(-1, 1, 1, 1)
        # All points on one side say nothing about the baseline (paper's code).
        return self.norm.steepest_direction(torch.where(mean.abs() < 1, weighted - mean * plain, weighted))

    def _ways(self, near: NearestErrors, rows: Tensor, *, iteration: int, numbers: Tensor) -> Tensor:
        """Random directions of Euclidean length 1, one for each number and row, (S, B, C, H, W)."""
        shape, label = tuple(near.clean.shape[1:]), f"{self.stream}/{iteration}"
        ids, step = near.ids[rows].repeat(len(numbers)), numbers.repeat_interleave(len(rows))
        drawn = rng.normal(ids, shape, seed=near.seed, label=label, step=step)
        return L2_NORM.steepest_direction(drawn).view(len(numbers), len(rows), *shape)


class HopSkipJumpLinf(HopSkipJump):
    """HopSkipJump for the smallest change of the largest pixel difference."""

    name: ClassVar[str] = "hopskipjump-linf"
    norm: ClassVar[Norm] = LINF
    power: ClassVar[float] = 2.0

    def toward(self, clean: Tensor, far: Tensor, share: Tensor) -> Tensor:
        """Changes clamped to a share of the largest one."""
        delta = far - clean
        limit = share * self.norm.distance(delta).view(-1, 1, 1, 1)
        return clean + torch.clamp(delta, -limit, limit)


class HopSkipJumpL2(HopSkipJump):
    """HopSkipJump for the smallest Euclidean change."""

    name: ClassVar[str] = "hopskipjump-l2"
    norm: ClassVar[Norm] = L2_NORM
    power: ClassVar[float] = 1.5

    def toward(self, clean: Tensor, far: Tensor, share: Tensor) -> Tensor:
        """Changes scaled by the share."""
        return clean + share * (far - clean)
