"""Geometry of a threat model: projection, steepest step, random start and distance, per norm.

Images are (B, C, H, W) float32 in the box [0, 1]; radii are (B, 1, 1, 1) tensors, so that each sample of a batch may
have its own.
"""

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

    def inside(self, ids: Tensor, shape: tuple[int, ...], seed: int, label: str, step: int) -> Tensor:
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

    def inside(self, ids: Tensor, shape: tuple[int, ...], seed: int, label: str, step: int) -> Tensor:
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

    def inside(self, ids: Tensor, shape: tuple[int, ...], seed: int, label: str, step: int) -> Tensor:
        """A normal direction times u^(1/d): uniform in the ball (Muller 1959)."""
        direction = self.steepest(rng.normal(ids, shape, seed, label, step))
        count = direction[0].numel() if len(direction) else 1
        radius = rng.uniform(ids, (1,), seed, f"{label}/radius", step) ** (1.0 / count)
        return direction * radius.view(-1, 1, 1, 1)


LINF = Linf()
L2_NORM = L2()
