"""How many of a sample's units a rate takes, and which: by counted draws that know nothing of the rate.

What a rate takes, every higher rate takes too. Draws are random words of 64 bits (:func:`robustbench_wb.rng.words`).
"""

from fractions import Fraction

import torch
from torch import Tensor

POSITIVE = (1 << 63) - 1
"""Of a draw, which may be negative, 63 bits: a number from 0."""
_BITS = 53


def rounded(rate: Fraction, units: int, draw: int) -> int:
    """rate x units, rounded down, or up with the probability of its fraction: short samples are right on average.

    Exact: no floating point.
    """
    whole, rest = divmod(rate.numerator * units, rate.denominator)
    uniform = (draw >> (64 - _BITS)) & ((1 << _BITS) - 1)
    return whole + (uniform * rate.denominator < rest << _BITS)


def roundings(rate: Fraction, units: Tensor, draws: Tensor) -> Tensor:
    """The same for many samples: int64 (B,), (B,) to int64 (B,)."""
    pairs = zip(units.tolist(), draws.tolist(), strict=True)
    return torch.tensor([rounded(rate, *pair) for pair in pairs], dtype=torch.int64, device=units.device)


def lowest(keys: Tensor, counts: Tensor) -> Tensor:
    """bool (B, U): the ``counts`` (B,) units of each row whose keys, int64 (B, U), are the lowest."""
    first = torch.arange(keys.shape[1], device=keys.device) < counts[:, None]
    return torch.zeros_like(first).scatter(1, torch.argsort(keys, dim=1, stable=True), first)
