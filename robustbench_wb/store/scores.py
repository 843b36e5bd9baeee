"""The score table: one row per cell, one Delta version per finished run."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, TableNotFoundError

from robustbench_wb.errors import StoreError
from robustbench_wb.records.names import Slot
from robustbench_wb.records.score_row import SCHEMA_VERSION, ScoreRow, read_rows
from robustbench_wb.spec import canonical_json
from robustbench_wb.store.location import KEEP_HISTORY, create_table, nothing_yet, store_errors, table_uri
from robustbench_wb.store.query import read
from robustbench_wb.store.schema import SCHEMA_KEY, refuse_newer

__all__ = ["ScoreRow", "ScoreTable", "VersionInfo"]

_ARROW: Final[dict[Any, Any]] = {int: pa.int64(), float: pa.float64(), float | None: pa.float64()}
SCHEMA: Final = pa.schema(
    [(name, _ARROW.get(field.annotation, pa.string())) for name, field in ScoreRow.model_fields.items()]
)
"""The columns of the table: the fields of :class:`ScoreRow`, in order."""

_WRITER: Final = WriterProperties(compression="ZSTD")
_ATTEMPTS: Final = 100

VERSION: Final = r"v?[0-9]+|latest|HEAD(?:~[0-9]+)?"
"""Pattern of what names a version: ``v3``, ``latest`` or ``HEAD``, and ``HEAD~1`` for the one before that."""


@dataclass(frozen=True)
class VersionInfo:
    """One version of a score table: the first finished run is version 1."""

    number: int
    time: datetime
    """When it was committed (UTC)."""
    provenance: dict[str, Any]
    """What :func:`robustbench_wb.store.provenance.collect` gave the run."""


class ScoreTable:
    """The Delta table ``<location>/scores``. Delta's version 0 is empty: version 1 is the first run."""

    def __init__(self, location: str) -> None:
        self.location = location
        self.uri = table_uri(location, "scores")

    def exists(self) -> bool:
        """Whether there is a version.

        Raises:
            StoreError: the table is unreadable.
        """
        with store_errors(self.location, "read"):
            table = self._open()
            return table is not None and table.version() > 0

    def commit(self, rows: Iterable[ScoreRow], provenance: dict[str, Any]) -> int:
        """Write the rows of one finished run as one new version, and return its number.

        Rows of the same slot are replaced (of two given rows of one slot, the last stands), other rows stay.
        When another run commits meanwhile, its rows are read and kept: no row is lost.

        Raises:
            StoreError: the table cannot be written, or a newer release wrote it.
        """
        given = {row.slot: row for row in rows}
        metadata = {"provenance": canonical_json(provenance), SCHEMA_KEY: str(SCHEMA_VERSION)}
        # Without retries inside Delta, a commit succeeds only on exactly the version whose rows were read: a
        # compare and swap. With them, two first runs would both be accepted on top of the empty table.
        properties = CommitProperties(custom_metadata=metadata, max_commit_retries=0)
        with store_errors(self.location, "write"):
            for _ in range(_ATTEMPTS):
                table = self._open() or self._create()
                merged = {**{row.slot: row for row in self._read(table)}, **given}
                try:
                    write_deltalake(
                        table,
                        _to_arrow(merged),
                        mode="overwrite",
                        schema_mode="overwrite",  # a table of an earlier harness has fewer columns
                        writer_properties=_WRITER,
                        commit_properties=properties,
                    )
                except CommitFailedError:
                    continue
                return table.version()
        raise StoreError(f"{_ATTEMPTS} other runs wrote to {self.location!r} at the same time; try again")

    def rows(self, version: str | int | None = None) -> list[ScoreRow]:
        """The rows of a version (``"v2"``, 2 or ``"HEAD~1"``; None is the latest), oldest slots first.

        Raises:
            StoreError: there are no results, no such version, or the table is unreadable.
        """
        with store_errors(self.location, "read"):
            table = self._open()
            latest = table.version() if table is not None else 0
            if table is None or latest == 0:
                raise nothing_yet(self.location)
            return self._read(table, latest if version is None else self._number(version, latest))

    def version(self, version: str | int | None = None) -> int:
        """The number of a version (``"v2"``, 2, ``"HEAD~1"``, or None for the latest), checked to exist.

        Raises:
            StoreError: there are no results, or no such version.
        """
        with store_errors(self.location, "read"):
            table = self._open()
            latest = table.version() if table is not None else 0
        if latest == 0:
            raise nothing_yet(self.location)
        return latest if version is None else self._number(version, latest)

    def versions(self) -> list[VersionInfo]:
        """All versions, oldest first.

        Raises:
            StoreError: there are no results, or the table is unreadable.
        """
        with store_errors(self.location, "read"):
            table = self._open()
            history = table.history() if table is not None else []
        found = [_version_info(entry) for entry in history if entry["version"] > 0]
        if not found:
            raise nothing_yet(self.location)
        return sorted(found, key=lambda info: info.number)

    def info(self, number: int) -> VersionInfo:
        """Of a version that exists.

        Raises:
            StoreError: as :meth:`versions`.
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
        try:
            return DeltaTable(self.uri)
        except TableNotFoundError:
            return None

    def _create(self) -> DeltaTable:
        return create_table(self.uri, SCHEMA, KEEP_HISTORY)

    def _read(self, table: DeltaTable, number: int | None = None) -> list[ScoreRow]:
        """The rows of a version of a table that was opened at its latest one; None is that."""
        what, latest = f"the scores under {self.location!r}", table.version()
        number = latest if number is None else number
        # Asked once an earlier version is loaded, Delta Lake 1.6 numbers the commits wrongly.
        for commit in table.history(latest - number + 1)[-1:]:
            refuse_newer(commit.get(SCHEMA_KEY), SCHEMA_VERSION, what)
        if number != latest:
            table.load_as_version(number)
        return read_rows(read(table).to_pylist(), what)


def _to_arrow(rows: dict[Slot, ScoreRow]) -> pa.Table:
    return pa.Table.from_pylist([row.model_dump() for row in rows.values()], schema=SCHEMA)


def _version_info(entry: dict[str, Any]) -> VersionInfo:
    text = entry.get("provenance")
    provenance = json.loads(text) if isinstance(text, str) else {}
    return VersionInfo(entry["version"], datetime.fromtimestamp(entry["timestamp"] / 1000, UTC), provenance)
