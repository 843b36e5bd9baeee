"""Record store: one row per evaluation, addressed by the digest of its identity, appended in atomic commits."""

import hashlib
from collections.abc import Sequence
from typing import Final

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError

from robustbench_wb.engine.record_keeper import Span
from robustbench_wb.errors import StoreError
from robustbench_wb.records.record import Record
from robustbench_wb.store.delta_query import read_delta_table
from robustbench_wb.store.location import KEEP_HISTORY, as_store_errors, create_table, open_table, table_uri
from robustbench_wb.store.part_store import PartStore
from robustbench_wb.store.record_rows import SCHEMA, read_records, write_row

# Statistics of the key let lookups skip files; statistics of other columns would only enlarge the log.
_CONFIGURATION: Final[dict[str, str | None]] = {**KEEP_HISTORY, "delta.dataSkippingStatsColumns": "key"}
_WRITER: Final = WriterProperties(compression="ZSTD")
# Without retries inside Delta, an append succeeds only on the version whose keys were looked up (compare and swap).
_ONCE: Final = CommitProperties(max_commit_retries=0)
_ATTEMPTS: Final = 1000
_MANY_FILES: Final = 64
COMPACT_EVERY: Final = 200
"""Number of appends after which files are merged: each file makes the next append 0.1 ms slower."""


class RecordStore:
    """Delta table ``<location>/records``. Many processes can write at once, and reading needs no lock.

    A process that is killed during an append leaves all earlier records intact: a row becomes visible with the commit
    that names its file, and that commit appears in one step.
    """

    def __init__(self, location: str) -> None:
        self.location = location
        self.uri = table_uri(location, "records")
        self._table: DeltaTable | None = None
        self._appended = 0
        self._parts = PartStore(location)

    def __reduce__(self) -> tuple[type["RecordStore"], tuple[str]]:
        """Pickle the location alone, so that another process opens the table itself."""
        return type(self), (self.location,)

    def find(self, keys: Sequence[str]) -> dict[str, Record]:
        """Read the stored records among ``keys`` in one scan, by key; unknown keys are left out.

        Raises:
            StoreError: the store is unreadable, or a record was changed or is of a newer release; the message names
                its key.
        """
        found, damaged = self.examine(keys)
        for reason in damaged.values():
            raise StoreError(reason)
        return found

    def examine(self, keys: Sequence[str]) -> tuple[dict[str, Record], dict[str, str]]:
        """Read the stored records among ``keys``, by key, and the reasons why others of them cannot be read, by key.

        Raises:
            StoreError: the store as a whole is unreadable.
        """
        with as_store_errors(self.location, "read"):
            table = self._open()
            return ({}, {}) if table is None else self._examine(table, keys)

    def _examine(self, table: DeltaTable, keys: Sequence[str]) -> tuple[dict[str, Record], dict[str, str]]:
        if not keys:
            return {}, {}
        return read_records(read_delta_table(table, "key", sorted(set(keys))))

    def damaged(self) -> list[str]:
        """Reasons why records of the store are damaged, one line each.

        Raises:
            StoreError: the store as a whole is unreadable.
        """
        with as_store_errors(self.location, "read"):
            table = self._open()
            return [] if table is None else list(read_records(read_delta_table(table))[1].values())

    def keys(self) -> list[str]:
        """Keys of all stored records, in ascending order.

        Raises:
            StoreError: the store is unreadable.
        """
        with as_store_errors(self.location, "read"):
            table = self._open()
            found = [] if table is None else read_delta_table(table, columns=("key",))["key"].to_pylist()
            return sorted({key for key in found if key is not None})

    def renamed(self, keys: Sequence[str]) -> dict[str, str]:
        """Reasons, by key, why some of ``keys`` are not found although their records exist: their ``key`` was edited.

        Raises:
            StoreError: the store is unreadable.
        """
        with as_store_errors(self.location, "read"):
            table = self._open() if keys else None
            if table is None:
                return {}
            rows = read_delta_table(table, columns=("key", "identity"))
        true = {
            hashlib.sha256((text or "").encode()).hexdigest(): key
            for key, text in zip(*rows.to_pydict().values(), strict=True)
        }
        return {
            key: f"the key of record {key} was changed to {true[key]!r} after it was written"
            for key in keys
            if true.get(key, key) != key
        }

    def append(self, *records: Record) -> list[Record]:
        """Add the records whose key is not in the store yet, in one atomic commit.

        Returns:
            The stored record of the key of each given one, in order. Another process may have stored its record of the
            same evaluation first; a row made from the given record would then not match the store.

        Raises:
            StoreError: the store cannot be written, or the stored record of a key is damaged.
            ValueError: the arrays of a record differ in length, which is a programming error.
        """
        given = {record.key: record for record in reversed(records)}
        with as_store_errors(self.location, "write"):
            for _ in range(_ATTEMPTS if given else 0):
                table = self._open() or self._create()
                stored, damaged = self._examine(table, list(given))
                for reason in damaged.values():
                    raise StoreError(reason)
                fresh = [write_row(record) for key, record in given.items() if key not in stored]
                if not fresh or self._commit(table, pa.concat_tables(fresh)):
                    self._appended += 1
                    if self._appended % COMPACT_EVERY == 0:
                        self.compact()
                    return [stored.get(record.key, given[record.key]) for record in records]
        if given:
            raise StoreError(f"{_ATTEMPTS} other runs wrote to {self.location!r} at the same time; try again")
        return []

    def _commit(self, table: DeltaTable, rows: pa.Table) -> bool:
        """Append rows; False if another process has committed since the table was opened."""
        try:
            write_deltalake(
                table,
                rows,
                mode="append",
                schema_mode="merge",  # a table of an earlier release has fewer columns
                writer_properties=_WRITER,
                commit_properties=_ONCE,
            )
        except CommitFailedError:
            return False
        return True

    def find_parts(self, keys: Sequence[str]) -> dict[Span, list[Record]]:
        """Parts of unfinished cells that are measured together, see ``PartStore.find``."""
        return self._parts.find(keys)

    def append_part(self, span: Span, records: Sequence[Record]) -> None:
        """Keep one part of some cells, see ``PartStore.append``."""
        self._parts.append(span, records)

    def remove_parts(self, keys: Sequence[str]) -> None:
        """Remove all parts of some cells, see ``PartStore.remove``."""
        self._parts.remove(keys)

    def compact(self) -> bool:
        """Merge many small files into a few, at the end of a run. Every earlier version stays readable.

        Returns:
            True if files were merged; False if there were few files, or another process merged them.

        Raises:
            StoreError: the store cannot be written.
        """
        with as_store_errors(self.location, "write"):
            table = self._open()
            if table is None or len(table.file_uris()) < _MANY_FILES:
                return False
            try:
                table.optimize.compact(writer_properties=_WRITER)
            except CommitFailedError:
                self._table = None
                return False
        return True

    def _open(self) -> DeltaTable | None:
        """Table at its newest version; None if it does not exist. Updating an open table is faster than opening it."""
        if self._table is not None:
            self._table.update_incremental()
            return self._table
        self._table = open_table(self.uri)
        return self._table

    def _create(self) -> DeltaTable:
        return create_table(self.uri, SCHEMA, _CONFIGURATION)
