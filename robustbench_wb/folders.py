"""Cache folder of the user, and atomic writes of files."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from uuid import uuid4

from platformdirs import user_cache_path

from robustbench_wb.errors import UsageError

_FRESH: ContextVar[Mapping[str, Path]] = ContextVar("fresh", default=MappingProxyType({}))


def cache_folder(kind: str) -> Path:
    """Create and return the cache folder for ``kind`` (``checkpoints``, ``datasets``).

    The environment variable ``RBWB_CACHE_DIR`` overrides the user's default cache root.

    Raises:
        UsageError: the folder cannot be created.
    """
    override = _FRESH.get().get(kind, os.environ.get("RBWB_CACHE_DIR"))
    root = Path(override).expanduser() if override else user_cache_path("robustbench_wb", appauthor=False)
    try:
        (root / kind).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"cache folder {root} cannot be created ({error.strerror}); set RBWB_CACHE_DIR to a writable folder"
        ) from error
    return root / kind


@contextmanager
def temporary_cache(*kinds: str) -> Iterator[None]:
    """Replace the cache folders of these kinds by empty temporary ones until the block ends."""
    with TemporaryDirectory(prefix="robustbench-wb-") as folder:
        token = _FRESH.set({**_FRESH.get(), **dict.fromkeys(kinds, Path(folder))})
        try:
            yield
        finally:
            _FRESH.reset(token)


STALE_SECONDS = 24 * 3600.0
"""Age in seconds from which a temporary file is regarded as left behind by a killed process."""


def write_atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file atomically: ``write`` fills a temporary file beside ``path``, which is flushed and then renamed.

    Readers see the old or the new file, never a part, even if the writer is killed. Temporary files are named
    ``.tmp-*`` and are never read.
    """
    _sweep(path.parent)
    # Not tempfile: only the owner can read its files, and a cache may be shared.
    temporary = path.with_name(f".tmp-{uuid4().hex}{path.suffix}")
    try:
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _sweep(folder: Path) -> None:
    """Remove temporary files that killed writers left behind."""
    for leftover in folder.glob(".tmp-*"):
        # Another process may remove the file at the same time.
        with suppress(FileNotFoundError):
            if time.time() - leftover.stat().st_mtime > STALE_SECONDS:
                leftover.unlink()
