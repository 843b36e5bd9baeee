"""Score table: one row per evaluation, one Delta version per finished run."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError

from robustbench_wb.errors import StoreError
from robustbench_wb.records.names import Slot
from robustbench_wb.records.score_row import SCHEMA_VERSION, ScoreRow, read_rows
from robustbench_wb.spec import canonical_json
from robustbench_wb.store.delta_query import read_delta_table
from robustbench_wb.store.location import (
    KEEP_HISTORY,
    as_store_errors,
    create_table,
    no_results_error,
    open_table,
    table_uri,
)
from robustbench_wb.store.schema_number import SCHEMA_KEY, reject_newer_schema
from robustbench_wb.text_files import parse_json

__all__ = ["ScoreRow", "ScoreTable", "VersionInfo"]

_ARROW: Final[dict[object, pa.DataType]] = {int: pa.int64(), float: pa.float64(), float | None: pa.float64()}
SCHEMA: Final = pa.schema(
    [(name, _ARROW.get(field.annotation, pa.string())) for name, field in ScoreRow.model_fields.items()]
)
"""Columns of the table: the fields of ``ScoreRow``, in order."""

_WRITER: Final = WriterProperties(compression="ZSTD")
_ATTEMPTS: Final = 100

VERSION: Final = r"v?[0-9]+|latest|HEAD(?:~[0-9]+)?"
"""Pattern of the name of a version: ``v3``, ``latest`` or ``HEAD`` for the newest, ``HEAD~1`` for its predecessor."""


@dataclass(frozen=True)
class VersionInfo:
    """One version of a score table."""

    number: int
    """Number of the version; the first finished run is version 1."""
    time: datetime
    """Time of the commit (UTC)."""
    provenance: dict[str, object]
    """Provenance of the run; see ``robustbench_wb.store.provenance.collect_provenance``."""


class ScoreTable:
    """Delta table ``<location>/scores``. Version 0 is empty and version 1 is the first run."""

    def __init__(self, location: str) -> None:
        self.location = location
        self.uri = table_uri(location, "scores")

    def exists(self) -> bool:
        """Whether the table has a version.

        Raises:
            StoreError: the table is unreadable.
        """
        with as_store_errors(self.location, "read"):
            table = self._open()
            return table is not None and table.version() > 0

    def commit(self, rows: Iterable[ScoreRow], provenance: Mapping[str, object]) -> int:
        """Write the rows of a finished run as a new version, and return its number.

        Rows replace stored rows of the same slot, and all other rows stay. Of two given rows of one slot, the last
        counts. If another run commits at the same time, its rows are read and kept.

        Raises:
            StoreError: the table cannot be written, or a newer release wrote it.
        """
        given = {row.slot: row for row in rows}
        # A command may hold bytes that are no text, which Delta refuses.
        text = canonical_json(provenance).encode(errors="replace").decode()
        metadata = {"provenance": text, SCHEMA_KEY: str(SCHEMA_VERSION)}
        # Without retries inside Delta, a commit succeeds only on the version whose rows were read (compare and swap).
        # With retries, two simultaneous first runs would both be accepted on top of the empty table.
        properties = CommitProperties(custom_metadata=metadata, max_commit_retries=0)
        with as_store_errors(self.location, "write"):
            for _ in range(_ATTEMPTS):
                table = self._open() or self._create()
                merged = {**{row.slot: row for row in self._read(table)}, **given}
                try:
                    write_deltalake(
                        table,
                        _to_arrow(merged),
                        mode="overwrite",
                        schema_mode="overwrite",  # a table of an earlier release has fewer columns
                        writer_properties=_WRITER,
                        commit_properties=properties,
                    )
                except CommitFailedError:
                    continue
                return table.version()
        raise StoreError(f"{_ATTEMPTS} other runs wrote to {self.location!r} at the same time; try again")

    def rows(self, version: str | int | None = None) -> list[ScoreRow]:
        """Read the rows of a version (``"v2"``, 2 or ``"HEAD~1"``; None is the latest), oldest slots first.

        Raises:
            StoreError: there are no results, the version does not exist, or the table is unreadable.
        """
        with as_store_errors(self.location, "read"):
            table = self._open()
            latest = table.version() if table is not None else 0
            if table is None or latest == 0:
                raise no_results_error(self.location)
            return self._read(table, latest if version is None else self._number(version, latest))

    def version(self, version: str | int | None = None) -> int:
        """Number of an existing version (``"v2"``, 2, ``"HEAD~1"``, or None for the latest).

        Raises:
            StoreError: there are no results, or the version does not exist.
        """
        with as_store_errors(self.location, "read"):
            table = self._open()
            latest = table.version() if table is not None else 0
        if latest == 0:
            raise no_results_error(self.location)
        return latest if version is None else self._number(version, latest)

    def versions(self) -> list[VersionInfo]:
        """All versions, oldest first.

        Raises:
            StoreError: there are no results, or the table is unreadable.
        """
        with as_store_errors(self.location, "read"):
            table = self._open()
            history = table.history() if table is not None else []
        found = [_version_info(entry) for entry in history if entry["version"] > 0]
        if not found:
            raise no_results_error(self.location)
        return sorted(found, key=lambda info: info.number)

    def info(self, number: int) -> VersionInfo:
        """Time and provenance of the existing version ``number``.

        Raises:
            StoreError: there are no results, or the table is unreadable.
        """
        return next(info for info in self.versions() if info.number == number)

    def _number(self, version: str | int, latest: int) -> int:
        text = str(version).replace("latest", "HEAD", 1)
        number = 0
        if re.fullmatch(VERSION, text):
            head, _, back = text.partition("~")
            number = latest - int(back or 0) if head == "HEAD" else int(text.removeprefix("v"))
        if not 1 <= number <= latest:
            have = "v1" if latest == 1 else f"v1 to v{latest}"
            raise StoreError(f"there is no version {str(version)!r} under {self.location!r}; there is {have}")
        return number

    def _open(self) -> DeltaTable | None:
        return open_table(self.uri)

    def _create(self) -> DeltaTable:
        return create_table(self.uri, SCHEMA, KEEP_HISTORY)

    def _read(self, table: DeltaTable, number: int | None = None) -> list[ScoreRow]:
        """Read the rows of version ``number`` of a table opened at its latest version; None is the latest."""
        what, latest = f"the scores under {self.location!r}", table.version()
        number = latest if number is None else number
        # The history is read first: once an earlier version is loaded, Delta Lake 1.6 numbers the commits wrongly.
        for commit in table.history(latest - number + 1)[-1:]:
            reject_newer_schema(commit.get(SCHEMA_KEY), SCHEMA_VERSION, what)
        if number != latest:
            table.load_as_version(number)
        return read_rows(read_delta_table(table).to_pylist(), what)


def _to_arrow(rows: dict[Slot, ScoreRow]) -> pa.Table:
    return pa.Table.from_pylist([row.stored for row in rows.values()], schema=SCHEMA)


def _version_info(entry: dict[str, Any]) -> VersionInfo:
    text = entry.get("provenance")
    provenance = parse_json(text) if isinstance(text, str) else {}
    return VersionInfo(entry["version"], datetime.fromtimestamp(entry["timestamp"] / 1000, UTC), provenance)
