"""Bounds on where an image changes, whatever the values: numbers of pixels, and the side of one square."""

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import AfterValidator, Field
from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.spec import Exact


def _whole(eps: Exact) -> Exact:
    if eps.denominator != 1:
        raise ValueError(f"eps={eps} must be a whole number: it counts pixels")
    return eps


Pixels = Annotated[Exact, Field(gt=0), AfterValidator(_whole)]
"""A number of pixels, as the strength of an attack."""


class _OnePixelBall:
    """A bound whose unit ball holds the changes of one pixel, by any amount."""

    def steepest_direction(self, gradient: Tensor) -> Tensor:
        """Signs of the gradient at the one pixel where the sum of its absolute values is largest."""
        place = gradient.abs().sum(1).flatten(1).argmax(1)
        width = gradient.shape[3]
        return gradient.sign() * square_mask(place // width, place % width, side=1, images=gradient)

    def uniform_in_ball(self, ids: Tensor, shape: tuple[int, ...], seed: int, label: str, step: rng.Step) -> Tensor:
        """Uniform values in [-1, 1) at one random pixel, shape (B, *shape)."""
        values = 2 * rng.uniform(ids, shape, seed=seed, label=label, step=step) - 1
        place = rng.uniform(ids, (2,), seed=seed, label=f"{label}/pixel", step=step)
        rows, columns = ((place[:, at] * shape[at + 1]).long() for at in (0, 1))
        return values * square_mask(rows, columns, side=1, images=values)


class PixelCount(_OnePixelBall):
    """Number of changed pixels. A pixel is changed if any of its channels is."""

    name = "l0"

    def distance(self, delta: Tensor) -> Tensor:
        """Number of pixels with a change, float (B,)."""
        return (delta != 0).any(1).flatten(1).sum(1).to(delta.dtype)

    def project(self, delta: Tensor, radius: Tensor) -> Tensor:
        """Keep the ``radius`` pixels whose changes are longest, and undo the others."""
        order = delta.square().sum(1).flatten(1).argsort(dim=1, descending=True, stable=True).argsort(1)
        kept = order < radius.flatten(1)
        return delta * kept.view(len(delta), 1, *delta.shape[2:])


class SquareSide(_OnePixelBall):
    """Side of the smallest square that holds all changed pixels."""

    name = "patch"

    def distance(self, delta: Tensor) -> Tensor:
        """Side in pixels, float (B,); 0 without a change."""
        changed = (delta != 0).any(1)
        sides = []
        for dim in (2, 1):  # rows with a change, then columns
            line = changed.any(dim)
            place = torch.arange(1, line.shape[1] + 1, device=delta.device)
            last = torch.where(line, place, 0).amax(1)
            first = torch.where(line, place, line.shape[1] + 1).amin(1)
            sides.append((last - first + 1).clamp(min=0))
        return torch.maximum(*sides).to(delta.dtype)

    def project(self, delta: Tensor, radius: Tensor) -> Tensor:
        """Keep the change inside the square of this side that holds most of it (sum of squares), and undo the rest.

        All radii of a batch are equal.
        """
        side = min(round(float(radius.flatten()[0])), *delta.shape[2:]) if len(delta) else 1
        sums = F.avg_pool2d(delta.square().sum(1, keepdim=True), side, stride=1)
        best = sums.flatten(1).argmax(1)
        return delta * square_mask(best // sums.shape[3], best % sums.shape[3], side=side, images=delta)


L0_NORM = PixelCount()
PATCH_NORM = SquareSide()


def square_mask(rows: Tensor, columns: Tensor, *, side: int, images: Tensor) -> Tensor:
    """Mask (B, 1, H, W), 1 inside a square and 0 outside, from the rows and columns (B,) of its corner."""
    inside = []
    for corner, length in ((rows, images.shape[2]), (columns, images.shape[3])):
        at = torch.arange(length, device=images.device) - corner[:, None]
        inside.append((at >= 0) & (at < side))
    return (inside[0][:, None, :, None] & inside[1][:, None, None, :]).to(images.dtype)
