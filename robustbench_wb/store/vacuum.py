"""Removal of files that no version of local results needs."""

import time
from pathlib import Path
from typing import Final

from robustbench_wb.errors import StoreError
from robustbench_wb.object_store import is_url
from robustbench_wb.spec import Spec
from robustbench_wb.store.damage import TABLES, read_commits
from robustbench_wb.store.location import local_folder, no_results_error
from robustbench_wb.text_files import reason_of

DAYS: Final = 7.0
"""Least age in days of a removed file, unless the caller says otherwise. A run in progress has younger files."""
_DAY_SECONDS: Final = 24 * 3600.0
_LEFTOVERS: Final = (".tmp-*", ".probe-*", "parts/*")


class VacuumResult(Spec):
    """What was removed."""

    place: str
    """Folder of the results."""
    files: int
    """Number of removed files."""
    size: int
    """Their bytes."""


def vacuum_results(location: str, days: float = DAYS) -> VacuumResult:
    """Remove files that killed runs left behind, and small files of records that were merged into larger ones.

    All versions of the score table and all records stay.

    Args:
        location: local folder of the results.
        days: least age of a removed file, in days.

    Raises:
        StoreError: the location is a URL, has no results or damaged ones, or a file cannot be removed.
    """
    if is_url(location):
        raise StoreError(f"{location!r} is a URL; only the results of a local folder are cleaned up")
    folder = local_folder(location)
    if not any((folder / name).is_dir() for name in TABLES):
        raise no_results_error(location)
    before, removed = time.time() - days * _DAY_SECONDS, list[int]()
    try:
        for path in [*_unneeded(folder), *(path for kind in _LEFTOVERS for path in folder.glob(kind))]:
            state = path.stat()
            if state.st_mtime <= before:
                path.unlink(missing_ok=True)
                removed.append(state.st_size)
    except OSError as error:
        raise StoreError(f"{location!r} cannot be cleaned up: {reason_of(error)}") from error
    return VacuumResult(place=location, files=len(removed), size=sum(removed))


def _unneeded(folder: Path) -> list[Path]:
    """Parquet files that no version needs. Of the records, only the newest version is needed.

    Raises:
        StoreError: a commit is damaged, so that it is unknown what is needed.
    """
    found: list[Path] = []
    for table in (folder / name for name in TABLES):
        commits, damaged = read_commits(table)
        if damaged:
            raise StoreError(f"{str(damaged[0])!r} is damaged; run `robustbench-wb repair {folder}` first")
        needed = {path for commit in commits for path in commit.files}
        if table.name == "records":
            needed -= {path for commit in commits for path in commit.removed}
        found += [path for path in table.glob("*.parquet") if path not in needed]
    return found
