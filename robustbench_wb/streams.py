"""Random words by name, without torch: those of a stream depend on nothing that was drawn before.

Raw words of numpy's Philox (Salmon et al. 2011, SC11), a counter-based generator whose output is fixed by its
definition and which numpy promises to keep; the distributions of its ``Generator`` it does not.
:mod:`robustbench_wb.rng` is for tensors, and for what must be had by sample id.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def philox(*name: object) -> np.random.Philox:
    """The stream of a name, from its beginning."""
    key = hashlib.sha256("\x1f".join(map(str, name)).encode()).digest()[:16]
    return np.random.Philox(key=int.from_bytes(key, "little"))


def below(limit: int | Ints, words: NDArray[np.uint64]) -> Ints:
    """Whole numbers from 0 to ``limit`` - 1 (at most 2**32 - 1), one per word: its upper 32 bits times the limit,
    shifted down. Their probabilities differ by 2**-32."""
    high = (words >> np.uint64(32)) * np.asarray(limit).astype(np.uint64)
    found: Ints = (high >> np.uint64(32)).astype(np.int64)
    return found


class Words:
    """The random numbers of one part of a stream, in the order in which they are asked for."""

    def __init__(self, seed: int, stream: str, part: int = 0) -> None:
        self._source = philox(seed, stream, part)

    def below(self, limit: int | Ints, size: int) -> Ints:
        """As :func:`below`, (size,); of one limit, or of one for each."""
        return below(limit, self._source.random_raw(size))

    def order(self, size: int) -> Ints:
        """A random order of ``range(size)``."""
        return np.argsort(self._source.random_raw(size), kind="stable")
