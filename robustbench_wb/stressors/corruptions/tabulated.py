"""Elementary functions read from tables, so that a value depends on its argument alone.

Libraries compute sines and powers with different code in and after a vector, and on different devices; the last bit may
differ, and with it a rounded level. Here a value is found by a look-up and by products and sums of float64.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor

STEPS = 1 << 16
"""Intervals of a table. Linear interpolation in them is exact to 2e-9."""


def sine(angles: Tensor) -> Tensor:
    """Sine of angles in radians, float64, exact to 2e-9 for angles below 1e6."""
    turns = angles / math.tau
    return _interpolated("sine", (turns - turns.floor()) * STEPS)


def cosine(angles: Tensor) -> Tensor:
    """Cosine of angles in radians, float64, exact to 2e-9 for angles below 1e6."""
    return sine(angles + math.pi / 2)


def direction(y: Tensor, x: Tensor) -> Tensor:
    """Angle of the vectors (x, y) in radians, from -pi to pi, like ``atan2``: float64, exact to 1e-9; 0 for (0, 0)."""
    low, high = torch.minimum(x.abs(), y.abs()), torch.maximum(x.abs(), y.abs())
    acute = _interpolated("arctangent", low / torch.where(high > 0, high, 1) * STEPS)
    quadrant = torch.where(y.abs() > x.abs(), math.pi / 2 - acute, acute)
    half = torch.where(x < 0, math.pi - quadrant, quadrant)
    return torch.where(y < 0, -half, half)


def power(base: Tensor, exponent: float) -> Tensor:
    """``base`` to the power of an exponent from 0.1 to 10, for bases >= 0: float64, relative error below 1e-7."""
    mantissa, whole = torch.frexp(base)  # the mantissa is at least 1/2, and 0 for a base of 0
    logarithm = whole + _interpolated("logarithm", (2 * mantissa - 1).clamp(min=0) * STEPS)
    powers = logarithm * exponent
    low = powers.floor()
    found = torch.ldexp(_interpolated("exponential", (powers - low) * STEPS), low.clamp(-1000, 1000).int())
    return torch.where(base > 0, found, 0)


@lru_cache(maxsize=16)
def _table(name: str, device: torch.device) -> Tensor:
    """Values at the ends of all intervals, and once more the last, float64 (STEPS + 2,)."""
    places = torch.arange(STEPS + 2, dtype=torch.float64).clamp(max=STEPS) / STEPS
    values = {
        "sine": lambda: torch.tensor([math.sin(math.tau * place) for place in places.tolist()], dtype=torch.float64),
        "arctangent": lambda: torch.tensor([math.atan(place) for place in places.tolist()], dtype=torch.float64),
        "logarithm": lambda: torch.tensor([math.log2(1 + x) - 1 for x in places.tolist()], dtype=torch.float64),
        "exponential": lambda: torch.tensor([2.0**place for place in places.tolist()], dtype=torch.float64),
    }
    return values[name]().to(device)


def _interpolated(name: str, places: Tensor) -> Tensor:
    """Values of a table at places from 0 to ``STEPS``."""
    table, low = _table(name, places.device), places.long()
    below = table.take(low)
    return below + (places - low) * (table.take(low + 1) - below)
