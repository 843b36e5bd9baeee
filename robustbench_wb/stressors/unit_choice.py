"""Number and choice of the units of a sample that a rate selects, from counted draws that do not depend on the rate.

Every unit that a rate selects is also selected by every higher rate. Draws are random words of 64 bits
(``robustbench_wb.rng.words``).
"""

from fractions import Fraction

import torch
from torch import Tensor

MASK_63_BITS = (1 << 63) - 1
"""Mask of the lower 63 bits of a signed 64-bit draw: the result is never negative."""
_BITS = 53


def stochastic_round(rate: Fraction, units: int, draw: int) -> int:
    """Stochastic rounding of rate x units: up with the probability of the fractional part, so that the mean is exact.

    The computation is in integers: no floating point.
    """
    whole, rest = divmod(rate.numerator * units, rate.denominator)
    uniform = (draw >> (64 - _BITS)) & ((1 << _BITS) - 1)
    return whole + (uniform * rate.denominator < rest << _BITS)


def stochastic_round_many(rate: Fraction, units: Tensor, draws: Tensor) -> Tensor:
    """Stochastic rounding of rate x units for many samples: int64 (B,) units, (B,) draws to int64 (B,)."""
    pairs = zip(units.tolist(), draws.tolist(), strict=True)
    counts = [stochastic_round(rate, count, draw) for count, draw in pairs]
    return torch.tensor(counts, dtype=torch.int64, device=units.device)


def lowest_keys(keys: Tensor, counts: Tensor) -> Tensor:
    """Mask of the ``counts`` (B,) units of each row with the lowest keys, int64 (B, U): bool (B, U)."""
    first = torch.arange(keys.shape[1], device=keys.device) < counts[:, None]
    return torch.zeros_like(first).scatter(1, torch.argsort(keys, dim=1, stable=True), first)
