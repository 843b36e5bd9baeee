"""Counted randomness: every number is a function of (seed, label, sample id, step), never of what was drawn before.

Batch size, order, sharding and device therefore cannot change a result. The mixing function is SplitMix64 (Steele,
Lea & Flood, OOPSLA 2014), computed on int64 tensors: torch wraps on overflow, on CPU and GPU alike.
"""

import hashlib
import math
from functools import cache

import torch
from torch import Tensor


def _signed(value: int) -> int:
    """The two's complement int64 of an unsigned 64-bit constant."""
    return value - (1 << 64) if value >= 1 << 63 else value


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_MIX_1 = _signed(0xBF58476D1CE4E5B9)
_MIX_2 = _signed(0x94D049BB133111EB)


def _shift_right(z: Tensor, bits: int) -> Tensor:
    """Logical right shift of int64 (torch's own is arithmetic)."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def mix(z: Tensor) -> Tensor:
    """SplitMix64's finaliser, elementwise on int64: a bijection of 64-bit words that looks random."""
    z = (z ^ _shift_right(z, 30)) * _MIX_1
    z = (z ^ _shift_right(z, 27)) * _MIX_2
    return z ^ _shift_right(z, 31)


def stream_key(seed: int, label: str, step: int = 0) -> int:
    """A 64-bit key (as signed int) for one named stream of one run seed."""
    text = f"{seed}\x1f{label}\x1f{step}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "little", signed=True)


Step = int | Tensor
"""One number for all rows, or int64 (len(ids),): one for each."""


def _keys(device: torch.device, seed: int, label: str, step: Step) -> Step:
    """The key of the stream at one step, or of each row at its own."""
    if isinstance(step, int):
        return stream_key(seed, label, step)
    steps, place = torch.unique(step, return_inverse=True)
    keys = [stream_key(seed, label, number) for number in steps.tolist()]
    return torch.tensor(keys, dtype=torch.int64, device=device)[place.to(device)]


def words(ids: Tensor, count: int, seed: int, label: str, step: Step = 0) -> Tensor:
    """Random int64 words of shape (len(ids), count): element j of a row depends only on its id, its step and j."""
    base = mix(mix(ids.to(torch.int64) * _GOLDEN + _keys(ids.device, seed, label, step)))
    counter = torch.arange(1, count + 1, device=ids.device, dtype=torch.int64) * _GOLDEN
    return mix(base[:, None] + counter[None, :])


def below(limit: int | Tensor, draws: Tensor) -> Tensor:
    """Numbers from 0 to ``limit`` - 1, each alike likely to 2^-32 x limit, from :func:`words` of that shape."""
    return (draws >> 8 & 0xFFFFFFFF) % limit


def uniform(ids: Tensor, shape: tuple[int, ...], seed: int, label: str, step: Step = 0) -> Tensor:
    """Uniform float32 in [0, 1), shape (len(ids), *shape), one independent stream per sample id."""
    bits = _shift_right(words(ids, math.prod(shape), seed, label, step), 40)
    return (bits.to(torch.float32) * 2.0**-24).view(len(ids), *shape)


def signs(ids: Tensor, shape: tuple[int, ...], seed: int, label: str, step: Step = 0) -> Tensor:
    """-1 or 1 in float32, each with probability 1/2, shape (len(ids), *shape)."""
    return torch.where(uniform(ids, shape, seed, label, step) < 0.5, -1.0, 1.0)


def normal(ids: Tensor, shape: tuple[int, ...], seed: int, label: str, step: Step = 0) -> Tensor:
    """Standard normal float32, shape (len(ids), *shape) (Box & Muller 1958, cosine branch, in float64)."""
    count = math.prod(shape)
    device = ids.device
    raw = words(ids.cpu() if device.type == "mps" else ids, 2 * count, seed, label, step)  # MPS has no float64
    unit = (_shift_right(raw, 11).to(torch.float64) + 0.5) * 2.0**-53
    radius = torch.sqrt(-2.0 * torch.log(unit[:, :count]))
    drawn = (radius * torch.cos(2.0 * math.pi * unit[:, count:])).to(torch.float32)
    return drawn.to(device).view(len(ids), *shape)


CODES = 1 << 16
"""How many values :func:`uniform16` and :func:`normal16` take."""


def uniform16(ids: Tensor, shape: tuple[int, ...], seed: int, label: str, step: Step = 0) -> Tensor:
    """Uniform whole numbers from 0 to 65535, int32 (len(ids), *shape): four from each random word, for speed."""
    count = math.prod(shape)
    quarters = words(ids, -(-count // 4), seed, label, step).view(torch.int16)[:, :count]
    return (quarters.to(torch.int32) & (CODES - 1)).view(len(ids), *shape)


@cache
def normal_codes() -> Tensor:
    """The standard normal value of each of 65,536 equally likely codes, float32, ascending: bin centres in probability.

    Nothing lies beyond 4.33 standard deviations (the normal law puts 1.5e-5 there), the variance is 0.99998, and the
    distance between neighbours is below 0.0001 within one deviation of the mean and 0.25 at the very end.
    """
    values: Tensor = torch.special.ndtri((torch.arange(CODES, dtype=torch.float64) + 0.5) / CODES).float()
    return values


def normal16(ids: Tensor, shape: tuple[int, ...], seed: int, label: str, step: Step = 0) -> Tensor:
    """:func:`normal` in 65,536 values, float32 (len(ids), *shape): much faster, and bit-identical on all devices."""
    codes = uniform16(ids, shape, seed, label, step).flatten()
    return normal_codes().to(ids.device).index_select(0, codes).view(len(ids), *shape)


def permutation(count: int, seed: int, label: str, step: int = 0) -> Tensor:
    """A random order of ``range(count)`` (int64, on the CPU): the ids sorted by their random word."""
    return torch.argsort(words(torch.arange(count), 1, seed, label, step)[:, 0], stable=True)
