"""Counter-based random numbers: a function of (seed, label, sample id, step) and of nothing drawn before.

Batch size, order, sharding and device therefore cannot change a result. The mixing function is SplitMix64 (Steele,
Lea & Flood, OOPSLA 2014) on int64 tensors: torch wraps around on overflow, on CPUs and GPUs alike.

Arguments of all functions: sample ids as an int64 tensor (N,), the run seed, the label of a stream, and a step, which
is one int for all samples or an int64 tensor (N,).
"""

import hashlib
import math
from functools import cache

import torch
from torch import Tensor


def _signed(value: int) -> int:
    """Two's complement int64 of an unsigned 64-bit constant."""
    return value - (1 << 64) if value >= 1 << 63 else value


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_MIX_1 = _signed(0xBF58476D1CE4E5B9)
_MIX_2 = _signed(0x94D049BB133111EB)


def _shift_right(z: Tensor, bits: int) -> Tensor:
    """Logical right shift of int64; the shift operator of torch is arithmetic."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def mix(z: Tensor) -> Tensor:
    """Finaliser of SplitMix64, elementwise on int64: a bijection of 64-bit words whose output looks random."""
    z = (z ^ _shift_right(z, 30)) * _MIX_1
    z = (z ^ _shift_right(z, 27)) * _MIX_2
    return z ^ _shift_right(z, 31)


def stream_key(seed: int, label: str, step: int = 0) -> int:
    """64-bit key, as a signed int, of the stream (seed, label, step)."""
    text = f"{seed}\x1f{label}\x1f{step}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "little", signed=True)


Step = int | Tensor
"""Step of a stream: one int for all samples, or an int64 tensor (N,) with one step for each."""


def _keys(device: torch.device, seed: int, label: str, step: Step) -> Step:
    """Key of the stream at one step, or int64 (N,) with one key per sample."""
    if isinstance(step, int):
        return stream_key(seed, label, step)
    steps, place = torch.unique(step, return_inverse=True)
    keys = [stream_key(seed, label, number) for number in steps.tolist()]
    return torch.tensor(keys, dtype=torch.int64, device=device)[place.to(device)]


def words(ids: Tensor, count: int, seed: int, label: str, step: Step = 0) -> Tensor:
    """Random int64 words (N, count). Element j of a row depends only on seed, label, sample id, step and j."""
    base = mix(mix(ids.to(torch.int64) * _GOLDEN + _keys(ids.device, seed=seed, label=label, step=step)))
    counter = torch.arange(1, count + 1, device=ids.device, dtype=torch.int64) * _GOLDEN
    return mix(base[:, None] + counter[None, :])


def bounded_integers(limit: int | Tensor, draws: Tensor) -> Tensor:
    """Uniform integers from 0 to ``limit`` - 1, int64 of the shape of ``draws``, which come from ``words``.

    Probabilities differ from 1 / limit by at most 2^-32, which is a relative error of 2^-32 x limit.
    """
    return (draws >> 8 & 0xFFFFFFFF) % limit


def uniform(ids: Tensor, shape: tuple[int, ...], seed: int, label: str, step: Step = 0) -> Tensor:
    """Uniform float32 in [0, 1), shape (N, *shape), from an independent stream for each sample id."""
    bits = _shift_right(words(ids, math.prod(shape), seed=seed, label=label, step=step), 40)
    return (bits.to(torch.float32) * 2.0**-24).view(len(ids), *shape)


def signs(ids: Tensor, shape: tuple[int, ...], seed: int, label: str, step: Step = 0) -> Tensor:
    """Random signs -1 or 1 with probability 1/2 each, float32 (N, *shape)."""
    return torch.where(uniform(ids, shape, seed=seed, label=label, step=step) < 0.5, -1.0, 1.0)


def normal(ids: Tensor, shape: tuple[int, ...], seed: int, label: str, step: Step = 0) -> Tensor:
    """Standard normal float32 (N, *shape): cosine branch of Box & Muller 1958, computed in float64."""
    count = math.prod(shape)
    device = ids.device
    raw = words(
        ids.cpu() if device.type == "mps" else ids, 2 * count, seed=seed, label=label, step=step
    )  # MPS has no float64
    unit = (_shift_right(raw, 11).to(torch.float64) + 0.5) * 2.0**-53
    radius = torch.sqrt(-2.0 * torch.log(unit[:, :count]))
    drawn = (radius * torch.cos(2.0 * math.pi * unit[:, count:])).to(torch.float32)
    return drawn.to(device).view(len(ids), *shape)


CODES = 1 << 16
"""Number of different values that ``uniform16`` and ``normal16`` can take."""


def uniform16(ids: Tensor, shape: tuple[int, ...], seed: int, label: str, step: Step = 0) -> Tensor:
    """Uniform integers from 0 to 65,535, int32 (N, *shape). For speed, each 64-bit word gives four of them."""
    count = math.prod(shape)
    quarters = words(ids, -(-count // 4), seed=seed, label=label, step=step).view(torch.int16)[:, :count]
    return (quarters.to(torch.int32) & (CODES - 1)).view(len(ids), *shape)


@cache
def normal_codes() -> Tensor:
    """Standard normal quantiles at the centres of 65,536 equally likely bins, float32 (65536,), ascending.

    The largest absolute value is 4.33 (a normal variable exceeds it with probability 1.5e-5) and the variance is
    0.99998. Neighbours differ by less than 0.0001 within one standard deviation of the mean, and by less than 0.25 at
    the ends.
    """
    values: Tensor = torch.special.ndtri((torch.arange(CODES, dtype=torch.float64) + 0.5) / CODES).float()
    return values


def normal16(ids: Tensor, shape: tuple[int, ...], seed: int, label: str, step: Step = 0) -> Tensor:
    """Standard normal float32 (N, *shape) with 65,536 values: fast, and bit-identical on all devices."""
    codes = uniform16(ids, shape, seed=seed, label=label, step=step).flatten()
    return normal_codes().to(ids.device).index_select(0, codes).view(len(ids), *shape)


def permutation(count: int, seed: int, label: str, step: int = 0) -> Tensor:
    """Random permutation of ``range(count)``, int64 (count,) on the CPU: the numbers sorted by their random words."""
    return torch.argsort(words(torch.arange(count), 1, seed=seed, label=label, step=step)[:, 0], stable=True)
