"""Location of results: a local folder, or any URL that Delta Lake supports (``s3://bucket/folder``)."""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from robustbench_wb.errors import StoreError
from robustbench_wb.object_store import cause_of, is_url, store_options, try_url, waiting_is_said
from robustbench_wb.store.damage import name_damage
from robustbench_wb.text_files import reason_of

KEEP_HISTORY: Final[dict[str, str | None]] = {
    "delta.enableExpiredLogCleanup": "false",
    "delta.logRetentionDuration": "interval 5200 weeks",
}
"""Table properties that keep all versions readable. By default, Delta deletes the log of versions after 30 days."""

# Delta Lake 1.6 converts paths to URLs and back; with these characters it panics or writes elsewhere (%20 -> blank).
_REFUSED: Final = re.compile(r"[\[\]^|\\\x00-\x1f\ud800-\udfff]|%[0-9A-Fa-f]{2}")


def table_uri(location: str, table: str) -> str:
    """Address of ``table`` (``records`` or ``scores``) under ``location``.

    Raises:
        StoreError: the path has characters that Delta Lake cannot handle.
    """
    if is_url(location):
        return f"{location.rstrip('/')}/{table}"
    folder = local_folder(location).absolute()
    refused = _REFUSED.search(folder.as_posix())
    if refused:
        raise StoreError(
            f"results cannot be written to {location!r}: Delta Lake cannot handle {refused.group()!r} in a path"
        )
    return str(folder / table)


def local_folder(location: str) -> Path:
    """Folder of results that are not at a URL, with ``~`` resolved.

    Raises:
        StoreError: the path is empty, or begins with the name of a user that does not exist.
    """
    if not location.strip():
        raise StoreError("the name of the results folder is empty; '.' is the current one")
    try:
        return Path(location).expanduser()
    except RuntimeError as error:
        raise StoreError(f"{location!r} is no folder: {error}") from error


def prepare_location(location: str) -> str:
    """Make sure that results can be written before any work: create the folder, and write and remove a small file.

    Returns:
        The location as an absolute path, or the URL.

    Raises:
        StoreError: a file is in the way, the folder cannot be created or written, or the store behind the URL is not
            known, does not answer, or refuses to be written.
    """
    if is_url(location):
        try_url(location)
        return location
    table_uri(location, "scores")
    folder = local_folder(location)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # A real write, because permission bits do not cover read-only mounts, quotas and the superuser.
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".probe-") as probe:
            probe.write(b"probe")
            probe.flush()
        return str(folder.absolute())
    except (FileExistsError, NotADirectoryError) as error:
        blocker = next((path for path in (*reversed(folder.parents), folder) if not path.is_dir()), folder)
        raise StoreError(f"results cannot go to {location!r}: {str(blocker)!r} is not a folder") from error
    except (OSError, ValueError) as error:
        raise StoreError(f"results cannot be written to {location!r}: {reason_of(error)}") from error


@contextmanager
def new_location(location: str) -> Iterator[str]:
    """Prepare a results location, see ``prepare_location``; folders made for it go if the block fails and left none.

    Raises:
        StoreError: the location cannot be used.
    """
    folder = None if is_url(location) else local_folder(location).absolute()
    missing = [] if folder is None else [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        yield prepare_location(location)
    except BaseException:
        with suppress(OSError):  # a folder with results in it stays, and so do those above it
            for one in missing:
                one.rmdir()
        raise


def no_results_error(location: str) -> StoreError:
    """Error of a reading command that finds no results."""
    return StoreError(f"no results under {location!r} yet; run `robustbench-wb run --suite adversarial` first")


def create_table(uri: str, schema: pa.Schema, configuration: dict[str, str | None]) -> DeltaTable:
    """Create an empty table at version 0, or open it if another process has just created it.

    Raises:
        DeltaError: the table cannot be created.
    """
    # With retries, the slower of two processes would commit its creation a second time, as version 1.
    once = CommitProperties(max_commit_retries=0)
    try:
        return DeltaTable.create(
            uri, schema, configuration=configuration, commit_properties=once, storage_options=store_options(uri)
        )
    except DeltaError:
        # Either another process was faster, or opening the table raises the actual reason.
        return DeltaTable(uri, storage_options=store_options(uri))


def open_table(uri: str) -> DeltaTable | None:
    """Open the table at its newest version; None if it does not exist.

    Raises:
        DeltaError: the table cannot be read.
    """
    try:
        return DeltaTable(uri, storage_options=store_options(uri))
    except TableNotFoundError:
        return None


@contextmanager
def as_store_errors(location: str, doing: str) -> Iterator[None]:
    """Convert errors of Delta Lake, Arrow and the file system to a one-line ``StoreError``.

    At a URL, a warning says when the store does not answer for ``QUIET_SECONDS``: it is asked again for minutes.

    Raises:
        StoreError: names ``location``, the action ``doing`` (``read`` or ``write``), the first line of the cause, and
            the first damaged file if there is one.
    """
    try:
        with waiting_is_said(location):
            yield
    except BaseException as error:
        # Delta Lake panics on some damaged files; its class cannot be imported.
        if not isinstance(error, DeltaError | pa.ArrowException | OSError) and type(error).__name__ != "PanicException":
            raise
        damage = "" if is_url(location) else name_damage(local_folder(location))
        raise StoreError(f"cannot {doing} results under {location!r}: {cause_of(error)}{damage}") from error
