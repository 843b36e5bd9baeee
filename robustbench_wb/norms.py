"""Norms of threat models (Linf, L2, L1): distance, projection, direction of steepest ascent, and random start.

Perturbations and gradients are float32 tensors (B, C, H, W). Radii have the shape (B, 1, 1, 1), so that each sample of
a batch can have its own.
"""

import math
from typing import Protocol

import torch
from torch import Tensor

from robustbench_wb import rng


class Norm(Protocol):
    """Interface of a norm, as attacks use it."""

    name: str

    def distance(self, delta: Tensor) -> Tensor:
        """Norm of each perturbation, shape (B,)."""
        ...

    def project(self, delta: Tensor, radius: Tensor) -> Tensor:
        """Nearest perturbation, in Euclidean distance, whose norm is at most ``radius``."""
        ...

    def steepest_direction(self, gradient: Tensor) -> Tensor:
        """Unit-norm direction in which the linearised loss rises fastest; zero where the gradient is zero."""
        ...

    def uniform_in_ball(self, ids: Tensor, shape: tuple[int, ...], seed: int, label: str, step: rng.Step) -> Tensor:
        """One uniform draw from the unit ball for each sample id, shape (B, *shape)."""
        ...


def _length(delta: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(delta.flatten(1), dim=1)
    return length


class Linf:
    """Largest absolute change of any value."""

    name = "linf"

    def distance(self, delta: Tensor) -> Tensor:
        """Linf norm max |delta| of each perturbation, shape (B,)."""
        return delta.abs().flatten(1).amax(1)

    def project(self, delta: Tensor, radius: Tensor) -> Tensor:
        """Clamp every value to [-radius, radius]."""
        return torch.clamp(delta, -radius, radius)

    def steepest_direction(self, gradient: Tensor) -> Tensor:
        """Sign of the gradient."""
        return gradient.sign()

    def uniform_in_ball(self, ids: Tensor, shape: tuple[int, ...], seed: int, label: str, step: rng.Step) -> Tensor:
        """Independent uniform values in [-1, 1), shape (B, *shape)."""
        return 2 * rng.uniform(ids, shape, seed=seed, label=label, step=step) - 1


class L2:
    """Euclidean norm of the change."""

    name = "l2"

    def distance(self, delta: Tensor) -> Tensor:
        """L2 norm sqrt(sum delta^2) of each perturbation, shape (B,)."""
        return _length(delta)

    def project(self, delta: Tensor, radius: Tensor) -> Tensor:
        """Scale perturbations that are longer than the radius down to it."""
        length = _length(delta).view(-1, 1, 1, 1).clamp(min=1e-12)
        return delta * torch.clamp(radius / length, max=1.0)

    def steepest_direction(self, gradient: Tensor) -> Tensor:
        """Normalised gradient, divided by its largest value first because tiny gradients underflow when squared."""
        scaled = gradient / gradient.abs().flatten(1).amax(1).clamp(min=1e-38).view(-1, 1, 1, 1)
        return scaled / _length(scaled).clamp(min=1e-12).view(-1, 1, 1, 1)

    def uniform_in_ball(self, ids: Tensor, shape: tuple[int, ...], seed: int, label: str, step: rng.Step) -> Tensor:
        """Uniform draw from the ball: a normalised Gaussian direction times u^(1/d) with uniform u (Muller 1959)."""
        direction = self.steepest_direction(rng.normal(ids, shape, seed=seed, label=label, step=step))
        count = direction[0].numel() if len(direction) else 1
        radius = rng.uniform(ids, (1,), seed=seed, label=f"{label}/radius", step=step) ** (1.0 / count)
        return direction * radius.view(-1, 1, 1, 1)


class L1:
    """Sum of the absolute changes."""

    name = "l1"
    moved_share = 0.05
    """Share of the values that a step changes. The exact steepest step changes a single value, which is slow."""

    def distance(self, delta: Tensor) -> Tensor:
        """L1 norm sum |delta| of each perturbation, shape (B,)."""
        return delta.abs().flatten(1).sum(1)

    def project(self, delta: Tensor, radius: Tensor) -> Tensor:
        """Soft thresholding, with the threshold at which the norm equals the radius (Duchi et al. 2008, figure 1)."""
        size = delta.abs().flatten(1)
        ordered = size.sort(dim=1, descending=True).values
        excess = ordered.cumsum(1) - radius.flatten(1)
        counts = torch.arange(1, size.shape[1] + 1, device=delta.device)
        active = (ordered * counts > excess).sum(1, keepdim=True).clamp(min=1)
        threshold = (excess.gather(1, active - 1) / active).clamp(min=0)
        inside = size.sum(1, keepdim=True) <= radius.flatten(1)
        kept = (size - torch.where(inside, 0.0, threshold)).clamp(min=0)
        return delta.sign() * kept.view_as(delta)

    def steepest_direction(self, gradient: Tensor) -> Tensor:
        """Equal steps on the values with the largest absolute gradients (Tramer & Boneh 2019)."""
        size = gradient.abs().flatten(1)
        count = max(1, round(self.moved_share * size.shape[1]))
        least = size.topk(count, dim=1).values[:, -1:]
        direction = torch.where(size >= least, gradient.flatten(1).sign(), 0.0).view_as(gradient)
        return direction / self.distance(direction).clamp(min=1).view(-1, 1, 1, 1)

    def uniform_in_ball(self, ids: Tensor, shape: tuple[int, ...], seed: int, label: str, step: rng.Step) -> Tensor:
        """Uniform draw from the ball: d signed exponential draws divided by the sum of d + 1 (Barthe et al. 2005)."""
        count = math.prod(shape)
        drawn = -torch.log1p(-rng.uniform(ids, (count + 1,), seed=seed, label=label, step=step))
        sign = rng.signs(ids, (count,), seed=seed, label=f"{label}/sign", step=step)
        return (sign * drawn[:, :-1] / drawn.sum(1, keepdim=True)).view(len(ids), *shape)


LINF = Linf()
L2_NORM = L2()
L1_NORM = L1()
