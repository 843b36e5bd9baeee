"""Records of a large table, which do not fit into memory together: they are read in blocks, as they are asked for."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from robustbench_wb.records.record import Record
from robustbench_wb.store.record_store import RecordStore

FEW: Final = 256
"""Number of records that are read at once, whatever their size."""
BLOCK_BYTES: Final = 1 << 26
"""Size of a block of large records."""
HELD_BYTES: Final = 1 << 28
"""Size of all blocks that are held; the block that was used least recently makes room."""


class LazyRecords(Mapping[str, Record]):
    """The stored records among some keys. Records that are asked for one after the other should be neighbours.

    Args:
        store: where the records are.
        keys: their keys, in the order in which they are likely to be asked for.

    Raises:
        StoreError: the store is unreadable. Asking for a record raises it as well, if the record was changed.
    """

    def __init__(self, store: RecordStore, keys: Sequence[str]) -> None:
        stored = set(store.keys())
        self._store, self._keys = store, [key for key in dict.fromkeys(keys) if key in stored]
        self._places = {key: place for place, key in enumerate(self._keys)}
        self._blocks: OrderedDict[int, dict[str, Record]] = OrderedDict()
        first = self._read(0, 1)
        size = max(1, *(record.nbytes for record in first.values())) if first else 1
        self._length = max(1, min(FEW, BLOCK_BYTES // size))
        self._most = max(2, HELD_BYTES // (self._length * size))

    def __getitem__(self, key: str) -> Record:
        """The record of a key, read now with its neighbours unless they are held."""
        block = self._places[key] // self._length
        if block not in self._blocks:
            if len(self._blocks) >= self._most:
                self._blocks.popitem(last=False)
            self._blocks[block] = self._read(block * self._length, self._length)
        self._blocks.move_to_end(block)
        return self._blocks[block][key]

    def __contains__(self, key: object) -> bool:
        """Whether the record of a key is stored; nothing is read."""
        return key in self._places

    def __iter__(self) -> Iterator[str]:
        """Keys of the stored records, in order."""
        return iter(self._keys)

    def __len__(self) -> int:
        """Number of the stored records."""
        return len(self._keys)

    def _read(self, first: int, count: int) -> dict[str, Record]:
        return self._store.find(self._keys[first : first + count])
