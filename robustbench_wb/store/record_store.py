"""Record store: one row per evaluation, addressed by the digest of its identity, appended in atomic commits."""

import hashlib
import time
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError
from numpy.typing import DTypeLike, NDArray
from pydantic import ValidationError

from robustbench_wb.errors import StoreError
from robustbench_wb.records.record import SCHEMA_VERSION, Identity, Record
from robustbench_wb.spec import canonical_json
from robustbench_wb.store.delta_query import read_delta_table
from robustbench_wb.store.location import KEEP_HISTORY, as_store_errors, create_table, open_table, table_uri
from robustbench_wb.store.schema_number import reject_newer_schema
from robustbench_wb.text_files import parse_json

ARRAYS: Final[dict[str, DTypeLike]] = {
    "ids": "<i4",
    "states": "<i1",
    "losses": "<f4",
    "forwards": "<i4",
    "backwards": "<i4",
}
"""Per-sample columns and their number formats, in the order in which they are digested."""

SCHEMA: Final = pa.schema(
    [
        ("key", pa.string()),
        ("identity", pa.string()),
        ("ids", pa.list_(pa.int32())),
        ("states", pa.list_(pa.int8())),
        ("losses", pa.list_(pa.float32())),
        ("forwards", pa.list_(pa.int32())),
        ("backwards", pa.list_(pa.int32())),
        ("wobble", pa.int32()),
        ("seconds", pa.float64()),
        ("schema_version", pa.int32()),
        ("written", pa.int64()),
        ("digest", pa.string()),
        ("evidence", pa.string()),
        ("perturbed", pa.string()),
    ]
)
"""Columns of the table. ``written`` is in nanoseconds since 1970 (UTC): of records with one key, the first counts."""

# Statistics of the key let lookups skip files; statistics of other columns would only enlarge the log.
_CONFIGURATION: Final[dict[str, str | None]] = {**KEEP_HISTORY, "delta.dataSkippingStatsColumns": "key"}
_WRITER: Final = WriterProperties(compression="ZSTD")
# Without retries inside Delta, an append succeeds only on the version whose keys were looked up (compare and swap).
_ONCE: Final = CommitProperties(max_commit_retries=0)
_ATTEMPTS: Final = 1000
_MANY_FILES: Final = 64


class RecordStore:
    """Delta table ``<location>/records``. Many processes can write at once, and reading needs no lock.

    A process that is killed during an append leaves all earlier records intact: a row becomes visible with the commit
    that names its file, and that commit appears in one step.
    """

    def __init__(self, location: str) -> None:
        self.location = location
        self.uri = table_uri(location, "records")
        self._table: DeltaTable | None = None

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
                fresh = [_write_row(record) for key, record in given.items() if key not in stored]
                if not fresh or self._commit(table, pa.concat_tables(fresh)):
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


_SCALARS: Final = ("key", "wobble", "evidence", "perturbed", "schema_version", "seconds", "written")
"""Columns that the digest covers beside the arrays, in order."""


def _digest(row: Mapping[str, object], arrays: Mapping[str, NDArray[np.generic]]) -> str:
    """SHA-256 (hex) over all columns of a record but ``identity``, whose digest is the key.

    Of each array, the digest covers name, length and little-endian bytes.
    """
    return _digest_after("\n".join(str(row[name]) for name in _SCALARS), arrays)


def _early_digest(row: Mapping[str, object], arrays: Mapping[str, NDArray[np.generic]]) -> str:
    """Digest as earlier releases wrote it: without time and schema, and in schema 1 without evidence as well."""
    rest = "" if row["evidence"] is None else f"{row['evidence']}\n{row['perturbed'] or ''}"
    return _digest_after(f"{row['key']}\n{row['wobble']}\n{rest}", arrays)


def _digest_after(start: str, arrays: Mapping[str, NDArray[np.generic]]) -> str:
    state = hashlib.sha256(start.encode())
    for name, dtype in ARRAYS.items():
        content = np.ascontiguousarray(arrays[name], dtype=dtype)
        state.update(f"{name} {content.size}\n".encode())
        state.update(content.tobytes())
    return state.hexdigest()


def _write_row(record: Record) -> pa.Table:
    arrays = {name: np.ascontiguousarray(getattr(record, name), dtype=dtype) for name, dtype in ARRAYS.items()}
    sizes = {name: array.shape for name, array in arrays.items()}
    if len(set(sizes.values())) != 1 or arrays["ids"].ndim != 1:
        raise ValueError(f"the arrays of a record must be one-dimensional and of one length, not {sizes}")
    row: dict[str, object] = {
        "key": record.key,
        "identity": canonical_json(record.identity),
        **arrays,
        "wobble": record.wobble,
        "seconds": float(record.seconds),
        "schema_version": record.identity.schema_version,
        "written": time.time_ns(),
        "evidence": canonical_json(record.evidence),
        "perturbed": record.perturbed,
    }
    row["digest"] = _digest(row, arrays)
    return pa.table({name: [row[name]] for name in SCHEMA.names}, schema=SCHEMA)


def read_records(rows: pa.Table, *, recover: bool = False) -> tuple[dict[str, Record], dict[str, str]]:
    """Records of some rows of the table, by key, and the reasons why others are damaged, by key.

    Of several rows with one key, the first written counts; with ``recover``, the first intact one.
    """
    lacking = {field.name: pa.nulls(len(rows), field.type) for field in SCHEMA if field.name not in rows.column_names}
    columns = {name: rows[name].combine_chunks() for name in rows.column_names} | lacking
    keys, written, digests = (columns[name].to_pylist() for name in ("key", "written", "digest"))
    found: dict[str, Record] = {}
    damaged: dict[str, str] = {}
    for index in sorted(range(len(rows)), key=lambda at: (written[at] or 0, digests[at] or "", at)):
        key = keys[index]
        if key in found or (key in damaged and not recover):
            continue
        try:
            found[key] = _read_row(columns, index)
            damaged.pop(key, None)
        except StoreError as error:
            damaged[key] = str(error)
    return found, damaged


def _read_row(columns: Mapping[str, pa.Array], index: int) -> Record:
    row = {name: columns[name][index].as_py() for name in (*_SCALARS, "identity", "digest")}
    key, text = row["key"], row["identity"] or ""
    reject_newer_schema(row["schema_version"], SCHEMA_VERSION, f"record {key}")
    arrays = {
        name: np.asarray(columns[name][index].values.to_numpy(zero_copy_only=False), dtype=dtype)
        for name, dtype in ARRAYS.items()
        if columns[name][index].is_valid
    }
    if (
        arrays.keys() != ARRAYS.keys()
        or hashlib.sha256(text.encode()).hexdigest() != key
        or row["digest"] not in (_digest(row, arrays), _early_digest(row, arrays))
    ):
        raise StoreError(f"record {key} was changed after it was written; `robustbench-wb repair` moves it aside")
    try:
        identity = Identity.model_validate_json(text)
    except ValidationError as error:
        raise StoreError(f"record {key} was written by a release that this one cannot read") from error
    ids, states, losses, forwards, backwards = (arrays[name] for name in ARRAYS)
    return Record(
        identity=identity,
        ids=ids,
        states=states,
        losses=losses,
        forwards=forwards,
        backwards=backwards,
        wobble=row["wobble"],
        seconds=row["seconds"],
        evidence=parse_json(row["evidence"] or "{}"),
        perturbed=row["perturbed"] or "",
    )
