"""Parts of unfinished cells: what a run that was interrupted has measured of them on some samples.

They are small Parquet files in ``<location>/parts``, one for each finished shard, and removed when their cells are
whole. No table: files of their own need no commits, so that any number of runs can write without waiting.
"""

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake._internal import DeltaFileSystemHandler

from robustbench_wb.engine.record_keeper import Span
from robustbench_wb.object_store import is_url, open_files, read_bytes, write_bytes
from robustbench_wb.records.record import Record
from robustbench_wb.store.location import as_store_errors
from robustbench_wb.store.parquet_content import parquet_table
from robustbench_wb.store.record_rows import read_records, write_row

_log = logging.getLogger(__name__)
_FOLDER: Final = "parts"
_NAME: Final = re.compile(_FOLDER + r"/([0-9a-f]{64})-(\d+)-(\d+)\.parquet")


class PartStore:
    """Files of parts under a folder or URL of results.

    What other runs write after the first look is not found: their samples are measured again, with the same results.
    """

    def __init__(self, location: str) -> None:
        self.location = location
        self._known: dict[str, set[Span]] | None = None

    def find(self, keys: Sequence[str]) -> dict[Span, list[Record]]:
        """Parts of cells that are measured together: for each range of samples, a record of each cell, in order.

        A damaged file counts as missing, with a warning: its samples are measured again.

        Raises:
            StoreError: the place cannot be read.
        """
        name, found = _digest(keys), dict[Span, list[Record]]()
        with as_store_errors(self.location, "read"):
            for span in sorted(self._spans(name)):
                records = _read(self._files(), _path(name, span), keys)
                if records is None:
                    _log.warning("a part of a cell is damaged: samples %d to %d are measured again", *span)
                else:
                    found[span] = records
        return found

    def append(self, span: Span, records: Sequence[Record]) -> None:
        """Write the records of some cells on a range of samples; the file appears whole, or not at all.

        Raises:
            StoreError: the place cannot be written.
        """
        name = _digest([record.key for record in records])
        buffer = pa.BufferOutputStream()
        pq.write_table(pa.concat_tables([write_row(record) for record in records]), buffer, compression="zstd")
        with as_store_errors(self.location, "write"):
            write_bytes(self._files(), _path(name, span), buffer.getvalue().to_pybytes())
            self._spans(name).add(span)

    def remove(self, keys: Sequence[str]) -> None:
        """Remove all parts of some cells.

        Raises:
            StoreError: the place cannot be written.
        """
        name = _digest(keys)
        with as_store_errors(self.location, "write"):
            for span in self._spans(name):
                with suppress(FileNotFoundError):  # another run has finished the same cells
                    self._files().delete_file(_path(name, span))
            self._spans(name).clear()
        if not is_url(self.location):
            with suppress(OSError):  # it holds parts of other cells
                (Path(self.location).expanduser() / _FOLDER).rmdir()

    def _spans(self, name: str) -> set[Span]:
        """Ranges of samples that have a file; the folder is listed once."""
        if self._known is None:
            self._known = {}
            for key, span in _listed(self._files()):
                self._known.setdefault(key, set()).add(span)
        return self._known.setdefault(name, set())

    def _files(self) -> DeltaFileSystemHandler:
        return open_files(self.location)


def _digest(keys: Sequence[str]) -> str:
    return sha256("\n".join(keys).encode()).hexdigest()


def _path(name: str, span: Span) -> str:
    return f"{_FOLDER}/{name}-{span[0]}-{span[1]}.parquet"


def _listed(files: DeltaFileSystemHandler) -> Iterator[tuple[str, Span]]:
    for info in files.get_file_info_selector(_FOLDER, True, False):
        if match := _NAME.fullmatch(info.path):
            yield match[1], (int(match[2]), int(match[3]))


def _read(files: DeltaFileSystemHandler, path: str, keys: Sequence[str]) -> list[Record] | None:
    """Records of one file in the order of the keys; None if it is damaged, or gone."""
    content = read_bytes(files, path)
    if content is None:  # another run has finished the same cells
        return None
    try:
        found, _ = read_records(parquet_table(content))
    except (pa.ArrowException, OSError, ValueError, KeyError):  # Arrow has errors of each kind for changed bytes
        return None
    return [found[key] for key in keys] if found.keys() == set(keys) else None
