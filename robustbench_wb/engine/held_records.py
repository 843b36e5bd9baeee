"""Records of a run until its end: a few in memory, those of a large run in a file that is mapped into memory."""

import os
from dataclasses import replace
from tempfile import TemporaryFile
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.errors import UsageError
from robustbench_wb.folders import cache_folder
from robustbench_wb.records.record import Record
from robustbench_wb.text_files import reason_of

N = TypeVar("N", bound=np.generic)
MEMORY_BYTES: Final = 1 << 28
"""Bytes of arrays that stay in memory."""
FILE_BYTES: Final = 1 << 30
"""Bytes of a mapped file, or those of one record if it is larger."""
_ALIGNMENT: Final = 8  # of the numbers in a file
_ARRAYS: Final = 8  # of a record, at most


class HeldRecords:
    """Holds records without filling the memory: the system can write mapped pages to disk when it needs room.

    The files are in the cache folder and have no names, so that they are gone with the process.
    """

    def __init__(self) -> None:
        self._in_memory = 0
        self._file: NDArray[np.uint8] = np.empty(0, np.uint8)
        self._used = 0

    def hold(self, record: Record) -> Record:
        """Return an equal record, whose arrays are in a file if those of earlier records fill the memory.

        Raises:
            UsageError: the cache folder is full.
        """
        size = record.nbytes
        if self._in_memory + size <= MEMORY_BYTES:
            self._in_memory += size
            return record
        needed = size + _ALIGNMENT * _ARRAYS
        if self._used + needed > len(self._file):
            self._file, self._used = _new_file(max(FILE_BYTES, needed)), 0
        optional: dict[str, Any] = {
            name: self._write(array.ravel()).reshape(array.shape) for name, array in record.optional.items()
        }
        return replace(
            record,
            ids=self._write(record.ids),
            states=self._write(record.states),
            losses=self._write(record.losses),
            forwards=self._write(record.forwards),
            backwards=self._write(record.backwards),
            **optional,
        )

    def _write(self, array: NDArray[N]) -> NDArray[N]:
        """A copy of an array in the file."""
        first = -(-self._used // _ALIGNMENT) * _ALIGNMENT
        self._used = first + array.nbytes
        copy = self._file[first : self._used].view(array.dtype)
        copy[:] = array
        return copy


def _new_file(size: int) -> NDArray[np.uint8]:
    """Map a new file of so many bytes, which are reserved on the disk: a write into a full disk would end the process.

    Raises:
        UsageError: the cache folder has no room for it.
    """
    folder = cache_folder("outcomes")
    try:
        with TemporaryFile(dir=folder) as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            return np.memmap(file, np.uint8, "r+", shape=(size,))
    except OSError as error:
        raise UsageError(f"outcomes of the run cannot be kept in {folder}: {reason_of(error)}") from error
