"""Random words by name: those of a stream depend on nothing that was drawn before. Without torch."""

import hashlib

import numpy as np
from numpy.typing import NDArray


class Words:
    """The random numbers of one part of a stream, in the order in which they are asked for.

    Raw words of numpy's Philox generator (Salmon et al. 2011), which numpy promises to keep; the distributions of its
    ``Generator`` it does not.
    """

    def __init__(self, seed: int, stream: str, part: int = 0) -> None:
        key = hashlib.sha256(f"{seed}\x1f{stream}\x1f{part}".encode()).digest()[:16]
        self._source = np.random.Philox(key=int.from_bytes(key, "little"))

    def below(self, limit: int, size: int) -> NDArray[np.int64]:
        """Whole numbers from 0 to ``limit`` - 1, at most 2**32 - 1, (size,); their probabilities differ by 2**-32."""
        high = self._source.random_raw(size) >> np.uint64(32)
        return (high * np.uint64(limit) >> np.uint64(32)).astype(np.int64)

    def order(self, size: int) -> NDArray[np.int64]:
        """A random order of ``range(size)``."""
        return np.argsort(self._source.random_raw(size), kind="stable")
