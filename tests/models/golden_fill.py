"""Weights that any language can make, for parity with numbers from running other implementations."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

MASK = (1 << 64) - 1
TABLES = ("pos_embedding", "cls_token", "pos_embed", "decoder_pos_embed", "mask_token")


def fill(tensor: int, shape: tuple[int, ...]) -> Tensor:
    """Numbers in [-1, 1), float64: SplitMix64 of the element's index."""
    values = []
    for j in range(math.prod(shape)):
        z = ((j + 1 + (tensor << 32)) * 0x9E3779B97F4A7C15) & MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        z ^= z >> 31
        values.append(2.0 * ((z >> 11) * 2.0**-53) - 1.0)
    return torch.tensor(values, dtype=torch.float64).view(shape)


def filled(name: str, tensor: int, shape: tuple[int, ...], halves: tuple[str, ...] = TABLES) -> Tensor:
    f = fill(tensor, shape)
    if name in halves:
        return 0.5 * f
    if len(shape) == 1:
        return 1.0 + 0.1 * f if name.endswith("weight") else 0.1 * f
    return f * math.sqrt(3.0 / math.prod(shape[1:] if len(shape) == 4 else shape[-1:]))


def filled_state(shapes: Mapping[str, tuple[int, ...]], halves: tuple[str, ...] = TABLES) -> dict[str, Tensor]:
    """A whole state: tensor t is the one whose name is the t-th in order."""
    return {name: filled(name, t, shape=shapes[name], halves=halves) for t, name in enumerate(sorted(shapes))}
