"""Where files go: the user's cache folder, and writes that are whole or not there at all."""

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
    """The cache folder for ``kind`` (``checkpoints``, ``datasets``), created. ``RBWB_CACHE_DIR`` overrides the root.

    Raises:
        UsageError: it cannot be created.
    """
    override = _FRESH.get().get(kind, os.environ.get("RBWB_CACHE_DIR"))
    root = Path(override).expanduser() if override else user_cache_path("robustbench_wb", appauthor=False)
    try:
        (root / kind).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"cache folder {root} cannot be created ({error.strerror}); set RBWB_CACHE_DIR to a folder that can"
        ) from error
    return root / kind


@contextmanager
def fresh_cache(*kinds: str) -> Iterator[None]:
    """Within it, the folders of these kinds are empty ones that vanish at its end: nothing is found, nothing stays."""
    with TemporaryDirectory(prefix="robustbench-wb-") as folder:
        token = _FRESH.set({**_FRESH.get(), **dict.fromkeys(kinds, Path(folder))})
        try:
            yield
        finally:
            _FRESH.reset(token)


STALE_SECONDS = 24 * 3600.0
"""A temporary file older than this was left by a process that was killed."""


def write_atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, flush it to disk, then rename it into place.

    A reader, or a process killed at any point, sees the old file or the new one, never a part. Leftovers of killed
    writers are named ``.tmp-*`` and are never read.
    """
    _sweep(path.parent)
    # Not tempfile: its files are readable by their owner alone, and a cache may be shared.
    temporary = path.with_name(f".tmp-{uuid4().hex}{path.suffix}")
    try:
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _sweep(folder: Path) -> None:
    """Remove what killed writers left behind."""
    for leftover in folder.glob(".tmp-*"):
        # Another process may sweep at the same time.
        with suppress(FileNotFoundError):
            if time.time() - leftover.stat().st_mtime > STALE_SECONDS:
                leftover.unlink()
