"""Named random streams without torch, on the Philox generator of numpy (Salmon et al. 2011, SC11).

Only raw 64-bit words are used: numpy guarantees them across releases, but not the distributions of its ``Generator``.
``robustbench_wb.rng`` draws tensors, and numbers that depend on a sample id.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def philox_stream(*name: object) -> np.random.Philox:
    """Start the random stream of a name, whose parts are joined to one key."""
    key = hashlib.sha256("\x1f".join(map(str, name)).encode()).digest()[:16]
    return np.random.Philox(key=int.from_bytes(key, "little"))


def scale_to_integers(limit: int | Ints, words: NDArray[np.uint64]) -> Ints:
    """Uniform integers from 0 to ``limit`` - 1, int64 of the shape of ``words``; ``limit`` is at most 2**32 - 1.

    The upper 32 bits of each word are multiplied by the limit and shifted right by 32. Probabilities differ by at most
    2**-32.
    """
    high = (words >> np.uint64(32)) * np.asarray(limit).astype(np.uint64)
    found: Ints = (high >> np.uint64(32)).astype(np.int64)
    return found


class RandomStream:
    """Sequential random numbers of one part of a named stream."""

    def __init__(self, seed: int, stream: str, part: int = 0) -> None:
        self._source = philox_stream(seed, stream, part)

    def integers(self, limit: int | Ints, size: int) -> Ints:
        """Draw uniform integers from 0 to ``limit`` - 1, int64 (size,); ``limit`` is one number or one per draw."""
        return scale_to_integers(limit, self._source.random_raw(size))

    def permutation(self, size: int) -> Ints:
        """Draw a random permutation of ``range(size)``, int64 (size,)."""
        return np.argsort(self._source.random_raw(size), kind="stable")
