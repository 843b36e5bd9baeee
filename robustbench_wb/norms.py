"""Geometry of a threat model: projection, steepest step, random start and distance, per norm.

Images are (B, C, H, W) float32 in the box [0, 1]; radii are (B, 1, 1, 1) tensors, so that each sample of a batch may
have its own.
"""

import math
from typing import Protocol

import torch
from torch import Tensor

from robustbench_wb import rng


class Norm(Protocol):
    """What an attack needs to know of a norm."""

    name: str

    def distance(self, delta: Tensor) -> Tensor:
        """Norm of each perturbation, shape (B,)."""
        ...

    def project(self, delta: Tensor, radius: Tensor) -> Tensor:
        """The nearest perturbation of norm at most ``radius``."""
        ...

    def steepest(self, gradient: Tensor) -> Tensor:
        """The unit-norm direction in which the linearised loss rises fastest; zero where the gradient is zero."""
        ...

    def inside(self, ids: Tensor, shape: tuple[int, ...], seed: int, label: str, step: rng.Step) -> Tensor:
        """A uniform draw from the unit ball per sample id, shape (B, *shape)."""
        ...


def _length(delta: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(delta.flatten(1), dim=1)
    return length


class Linf:
    """Largest absolute change of any pixel value."""

    name = "linf"

    def distance(self, delta: Tensor) -> Tensor:
        """max |delta|."""
        return delta.abs().flatten(1).amax(1)

    def project(self, delta: Tensor, radius: Tensor) -> Tensor:
        """Clamp every value."""
        return torch.clamp(delta, -radius, radius)

    def steepest(self, gradient: Tensor) -> Tensor:
        """The sign."""
        return gradient.sign()

    def inside(self, ids: Tensor, shape: tuple[int, ...], seed: int, label: str, step: rng.Step) -> Tensor:
        """Independent uniform values in [-1, 1)."""
        return 2 * rng.uniform(ids, shape, seed, label, step) - 1


class L2:
    """Euclidean length of the change."""

    name = "l2"

    def distance(self, delta: Tensor) -> Tensor:
        """sqrt(sum delta^2)."""
        return _length(delta)

    def project(self, delta: Tensor, radius: Tensor) -> Tensor:
        """Shorten to the radius where longer."""
        length = _length(delta).view(-1, 1, 1, 1).clamp(min=1e-12)
        return delta * torch.clamp(radius / length, max=1.0)

    def steepest(self, gradient: Tensor) -> Tensor:
        """The normalised gradient. Scaled by its largest value first: tiny gradients would underflow when squared."""
        scaled = gradient / gradient.abs().flatten(1).amax(1).clamp(min=1e-38).view(-1, 1, 1, 1)
        return scaled / _length(scaled).clamp(min=1e-12).view(-1, 1, 1, 1)

    def inside(self, ids: Tensor, shape: tuple[int, ...], seed: int, label: str, step: rng.Step) -> Tensor:
        """A normal direction times u^(1/d): uniform in the ball (Muller 1959)."""
        direction = self.steepest(rng.normal(ids, shape, seed, label, step))
        count = direction[0].numel() if len(direction) else 1
        radius = rng.uniform(ids, (1,), seed, f"{label}/radius", step) ** (1.0 / count)
        return direction * radius.view(-1, 1, 1, 1)


class L1:
    """Sum of the absolute changes."""

    name = "l1"
    share = 0.05
    """Share of the values that a steepest step moves: the exact one moves a single value, which is slow."""

    def distance(self, delta: Tensor) -> Tensor:
        """sum |delta|."""
        return delta.abs().flatten(1).sum(1)

    def project(self, delta: Tensor, radius: Tensor) -> Tensor:
        """Soft thresholding by the one threshold that gives the radius (Duchi et al. 2008, figure 1)."""
        size = delta.abs().flatten(1)
        ordered = size.sort(dim=1, descending=True).values
        excess = ordered.cumsum(1) - radius.flatten(1)
        counts = torch.arange(1, size.shape[1] + 1, device=delta.device)
        active = (ordered * counts > excess).sum(1, keepdim=True).clamp(min=1)
        threshold = (excess.gather(1, active - 1) / active).clamp(min=0)
        inside = size.sum(1, keepdim=True) <= radius.flatten(1)
        kept = (size - torch.where(inside, 0.0, threshold)).clamp(min=0)
        return delta.sign() * kept.view_as(delta)

    def steepest(self, gradient: Tensor) -> Tensor:
        """Equal steps on the values with the largest gradients (Tramer & Boneh 2019)."""
        size = gradient.abs().flatten(1)
        count = max(1, round(self.share * size.shape[1]))
        least = size.topk(count, dim=1).values[:, -1:]
        direction = torch.where(size >= least, gradient.flatten(1).sign(), 0.0).view_as(gradient)
        return direction / self.distance(direction).clamp(min=1).view(-1, 1, 1, 1)

    def inside(self, ids: Tensor, shape: tuple[int, ...], seed: int, label: str, step: rng.Step) -> Tensor:
        """Signed exponentials over the sum of them and one more: uniform in the ball (Barthe et al. 2005)."""
        count = math.prod(shape)
        drawn = -torch.log1p(-rng.uniform(ids, (count + 1,), seed, label, step))
        sign = rng.signs(ids, (count,), seed, f"{label}/sign", step)
        return (sign * drawn[:, :-1] / drawn.sum(1, keepdim=True)).view(len(ids), *shape)


LINF = Linf()
L2_NORM = L2()
L1_NORM = L1()
