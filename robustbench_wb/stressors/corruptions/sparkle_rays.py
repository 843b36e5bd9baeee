"""Light of a sparkle: rays of random lengths around a point."""

import math

from torch import Tensor

from robustbench_wb.stressors.corruptions.tabulated import direction, power

FEWEST_RAYS, MOST_RAYS = 50, 199
"""Smallest and largest number of rays of a sparkle."""
SPREAD = 0.25
"""Standard deviation of the lengths of rays, as a share of the radius."""


def sparkle_light(right: Tensor, down: Tensor, *, rays: Tensor, lengths: Tensor, exponent: float) -> Tensor:
    """Share of light in [0, 1] at each pixel, float64 (B, H, W) (Mintun, Kirillov & Xie 2021).

    Light is g (1 - f^2) with g = (l^2 / (r^2 + 1e-4))^exponent, where r is the distance from the centre, l the length
    interpolated between the two nearest rays, and f from -1/2 to 1/2 the place between them.

    Args:
        right: columns from the centre, in pixels, (B, 1, W).
        down: rows from the centre, in pixels, (B, H, 1).
        rays: number of rays, (B, 1, 1).
        lengths: of the rays in pixels, float64 (B, ``MOST_RAYS``).
        exponent: decrease of the light with the distance.
    """
    place = (direction(right, down) + math.pi) / math.tau * rays
    first = place.floor()
    part = place - first
    shape = part.shape
    near, far = (lengths.gather(1, (number % rays).long().flatten(1)).view(shape) for number in (first, first + 1))
    length = near + part * (far - near)
    light = length * length / (right * right + down * down + 1e-4)
    if exponent != 1:
        light = power(light, exponent)
    return ((1 - (part - 0.5) * (part - 0.5)) * light).clamp(0, 1)


def ray_counts(draws: Tensor) -> Tensor:
    """Numbers of rays, uniform from 50 to 199, from draws in [0, 1)."""
    return (FEWEST_RAYS + (MOST_RAYS + 1 - FEWEST_RAYS) * draws).floor()


def ray_lengths(draws: Tensor, radius: float) -> Tensor:
    """Lengths of rays in pixels, float64, from standard normal draws of the same shape."""
    return radius + SPREAD * radius * draws.double()
