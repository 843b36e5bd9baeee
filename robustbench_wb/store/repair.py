"""Repair of damaged results: what is intact goes into new tables, and the old ones are moved aside."""

import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pyarrow as pa

from robustbench_wb.errors import ExitCode, StoreError
from robustbench_wb.object_store import is_url
from robustbench_wb.records.names import label
from robustbench_wb.records.record import Record
from robustbench_wb.records.score_row import SCHEMA_VERSION, ScoreRow, read_rows
from robustbench_wb.spec import Spec
from robustbench_wb.store.damage import TABLES, Commit, damaged_files, read_commits, read_parquet
from robustbench_wb.store.location import local_folder, no_results_error
from robustbench_wb.store.record_rows import SCHEMA, read_records
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.store.schema_number import SCHEMA_KEY, reject_newer_schema
from robustbench_wb.store.score_table import ScoreTable
from robustbench_wb.text_files import parse_json, reason_of

ASIDE: Final = "damaged"
"""Folder of the results that takes what was moved aside."""
_NEW: Final = ".repaired"
_COMPLETE: Final = "complete"


class RepairResult(Spec):
    """What was damaged, and what is to be measured again."""

    place: str
    """Folder of the results."""
    aside: str = ""
    """Folder with the tables as they were; empty if nothing was damaged."""
    files: tuple[str, ...] = ()
    """Damaged or missing files, by their place in the folder."""
    records: tuple[str, ...] = ()
    """Why records are damaged, one line each."""
    kept: int = 0
    """Number of intact records."""
    versions: tuple[int, ...] = ()
    """Versions of the score table whose rows are lost; they now have the rows of the version before."""
    lost: tuple[str, ...] = ()
    """Cells of the table that have no record any more. The command that measured them measures them again."""

    @property
    def exit_code(self) -> ExitCode:
        """INCOMPLETE if cells are to be measured again or versions are lost, else OK."""
        return ExitCode.INCOMPLETE if self.lost or self.versions else ExitCode.OK


def repair_results(location: str) -> RepairResult:
    """Move damaged records and tables of a local folder aside, and keep everything that is intact.

    Nothing changes if nothing is damaged. A killed repair continues when it is called again. No run may write to the
    folder meanwhile.

    Raises:
        StoreError: the location is a URL or has no results, a newer release wrote them, or nothing can be written.
    """
    if is_url(location):
        raise StoreError(f"{location!r} is a URL; only the results of a local folder are repaired")
    folder = local_folder(location)
    try:
        _finish(folder)
        if not any((folder / name).is_dir() for name in TABLES):
            raise no_results_error(location)
        return _repair(location, folder)
    except OSError as error:
        raise StoreError(f"{location!r} cannot be repaired: {reason_of(error)}") from error


def _finish(folder: Path) -> None:
    """Complete a repair that was killed while it moved tables: a new table is in place before the next one moves."""
    for name in TABLES:
        new = folder / _NEW / name
        if new.is_dir() and not (folder / name).exists() and (folder / _NEW / _COMPLETE).exists():
            new.rename(folder / name)
    shutil.rmtree(folder / _NEW, ignore_errors=True)


def _repair(location: str, folder: Path) -> RepairResult:
    files = [path.relative_to(folder) for path in damaged_files(folder)]
    intact, reasons = _all_records(location, folder / "records")
    versions = _all_versions(folder / "scores")
    rows = {(label(row), row.key): row for known, _ in versions.values() for row in known or ()}
    lost = [name for (name, key), row in rows.items() if row.status == "ok" and key not in intact]
    found = RepairResult(
        place=location,
        files=tuple(map(str, files)),
        records=tuple(reasons),
        kept=len(intact),
        versions=tuple(number for number, (known, _) in versions.items() if known is None),
        lost=tuple(dict.fromkeys(lost)),
    )
    harmed = {path.parts[0] for path in files}
    harmed |= {name for name, harm in (("records", reasons), ("scores", found.versions)) if harm}
    if not harmed:
        return found
    new = folder / _NEW
    new.mkdir()
    if "records" in harmed:
        RecordStore(str(new)).append(*intact.values())
    if "scores" in harmed:
        _write_versions(ScoreTable(str(new)), versions)
    (new / _COMPLETE).touch()
    aside = folder / ASIDE / datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%S.%f")
    aside.mkdir(parents=True)
    for name in sorted(harmed):
        (folder / name).rename(aside / name)
        if (new / name).exists():
            (new / name).rename(folder / name)
    shutil.rmtree(new, ignore_errors=True)
    return found.model_copy(update={"aside": str(aside)})


def _all_records(location: str, table: Path) -> tuple[dict[str, Record], list[str]]:
    """Intact records of all readable files of a table, by key, and the reasons why others are damaged.

    Files that no version names are read as well: each record proves itself by its digest.
    """
    parts = [part for path in sorted(table.glob("*.parquet")) if (part := read_parquet(path)) is not None]
    fitting = [part for part in parts if "key" in part.column_names and set(part.column_names) <= set(SCHEMA.names)]
    rows = pa.concat_tables([SCHEMA.empty_table(), *fitting], promote_options="permissive")
    found, damaged = read_records(rows, recover=True)
    try:
        reasons = RecordStore(location).damaged()
    except StoreError:
        reasons = list(damaged.values())
    return found, reasons


Versions = Mapping[int, tuple[Sequence[ScoreRow] | None, Mapping[str, object]]]
"""Rows and provenance of each version; None instead of rows that are lost."""


def _all_versions(table: Path) -> Versions:
    """All versions of a score table, without Delta Lake.

    Raises:
        StoreError: a newer release wrote a version.
    """
    commits, damaged = read_commits(table)
    by_number = {commit.number: commit for commit in commits}
    last = max([*by_number, *(int(path.stem) for path in damaged)], default=0)
    return {number: _version(by_number.get(number)) for number in range(1, last + 1)}


def _version(commit: Commit | None) -> tuple[Sequence[ScoreRow] | None, Mapping[str, object]]:
    if commit is None:
        return None, {}
    what = f"version {commit.number} of the scores"
    reject_newer_schema(commit.info.get(SCHEMA_KEY), SCHEMA_VERSION, what)
    parts = [read_parquet(path) for path in commit.files]
    try:
        given = parse_json(str(commit.info.get("provenance", "{}")))
        rows = [row for part in parts if part is not None for row in read_rows(part.to_pylist(), what)]
    except (StoreError, ValueError):
        return None, {}
    return (None if None in parts else rows), given if isinstance(given, dict) else {}


def _write_versions(table: ScoreTable, versions: Versions) -> None:
    """Commit all versions in order; a lost one has the rows of the version before."""
    for rows, provenance in versions.values():
        table.commit(rows or (), provenance if rows is not None else {"lost": "its rows were damaged"})
