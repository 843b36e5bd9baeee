"""Fingerprints of images, by which an attack recognises an iterate that it has seen."""

from functools import lru_cache

import torch
from torch import Tensor

NONE = torch.iinfo(torch.int64).min
"""Value that stands for "no image yet"."""


@lru_cache
def _weights(size: int, device: torch.device) -> Tensor:
    """Fixed random weights, int64 (size,)."""
    generator = torch.Generator().manual_seed(0)
    limits = torch.iinfo(torch.int64)
    return torch.randint(limits.min, limits.max, (size,), generator=generator).to(device)


def fingerprints(images: Tensor) -> Tensor:
    """Fingerprint of each image, int64 (B,), from images float32 (B, C, H, W).

    The sum of the bit patterns of all values with random 64-bit weights, modulo 2^64 (multilinear hashing, Carter &
    Wegman 1979). Equal bits have equal fingerprints. Two given images that differ have equal ones with a probability of
    at most 2^-32, and of 2^-64 if the last bit of any value differs.
    """
    bits = images.flatten(1).contiguous().view(torch.int32).long()
    return (bits * _weights(bits.shape[1], images.device)).sum(1)
