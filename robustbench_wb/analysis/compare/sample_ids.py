"""Ids of some samples, held as one bit for each sample of a table."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import overload

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.uint8]
"""Truth values of samples, eight in a byte: a comparison of large tables holds billions of them."""


def packed(values: NDArray[np.bool_]) -> Bits:
    """Bits of truth values (n,). Equal ones without any true value are one object, as most cells have such."""
    return np.packbits(values) if values.any() else _all_false(len(values))


@lru_cache(maxsize=8)
def _all_false(count: int) -> Bits:
    return np.packbits(np.zeros(count, dtype=np.bool_))


def unpacked(bits: Bits, count: int) -> NDArray[np.bool_]:
    """Truth values (count,) of bits."""
    return np.unpackbits(bits, count=count).view(np.bool_)


def count_set(bits: Bits) -> int:
    """Number of true values."""
    return int(np.count_nonzero(np.unpackbits(bits)))


@dataclass(frozen=True, eq=False)
class SampleIds(Sequence[int]):
    """Some of the samples of a cell: an immutable sequence of ids, equal to any sequence of the same ids."""

    ids: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """(n,) ids of all samples, one array for all cells with equal samples."""
    chosen: Bits = field(default_factory=lambda: np.empty(0, dtype=np.uint8))
    """Whether each of the samples belongs to the sequence."""

    def array(self) -> NDArray[np.int64]:
        """The ids of the sequence, in the order of all samples."""
        return self.ids[unpacked(self.chosen, len(self.ids))]

    def __len__(self) -> int:
        return count_set(self.chosen)

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[int, ...]: ...
    def __getitem__(self, index: int | slice) -> int | tuple[int, ...]:
        found = self.array()
        return tuple(found[index].tolist()) if isinstance(index, slice) else int(found[index])

    def __iter__(self) -> Iterator[int]:
        return iter(self.array().tolist())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Iterable) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))
