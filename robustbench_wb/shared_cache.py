"""A cache that machines share: files are copied between the cache folder and the URL in ``RBWB_SHARED_CACHE``.

The cache folder stays where everything is read and written. What takes long to make is also kept at the URL, and found
there by every other machine.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from robustbench_wb.errors import StoreError, UsageError
from robustbench_wb.folders import write_atomic

if TYPE_CHECKING:
    from deltalake._internal import DeltaFileSystemHandler

VARIABLE: Final = "RBWB_SHARED_CACHE"
_BLOCK: Final = 1 << 24  # bytes of a file that are in memory at once


class SharedCache:
    """Files at a URL, by their names below it. A store that does not answer is asked again for three minutes.

    Raises:
        StoreError: of every method: the URL cannot be read or written.
    """

    def __init__(self, location: str) -> None:
        self.location = location

    def read(self, name: str) -> bytes | None:
        """Content of a small file; None if it does not exist."""
        from robustbench_wb.object_store import read_bytes

        with self._errors("read"):
            return read_bytes(self._files, name)

    def write(self, name: str, content: bytes) -> None:
        """Write a small file, which appears whole or not at all."""
        from robustbench_wb.object_store import write_bytes

        with self._errors("written"):
            write_bytes(self._files, name, content)

    def fetch(self, name: str, target: Path) -> bool:
        """Copy a file from the URL to ``target``, whole or not at all; False if it does not exist there."""
        with self._errors("read"):
            try:
                source = self._files.open_input_file(name)
            except FileNotFoundError:
                return False

            def fill(path: Path) -> None:
                with path.open("wb") as file:
                    while block := source.read(_BLOCK):
                        file.write(block)

            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(target, fill)
        return True

    def share(self, source: Path, name: str) -> None:
        """Copy a file to the URL, where it appears whole or not at all."""
        with self._errors("written"), source.open("rb") as file:
            stream = self._files.open_output_stream(name)
            while block := file.read(_BLOCK):
                stream.write(block)
            stream.close()  # type: ignore[attr-defined]  # missing in the stubs of Delta Lake

    @cached_property
    def _files(self) -> "DeltaFileSystemHandler":
        from robustbench_wb.object_store import open_files

        return open_files(self.location)

    @contextmanager
    def _errors(self, done: str) -> Iterator[None]:
        from deltalake.exceptions import DeltaError

        from robustbench_wb.object_store import cause_of, waiting_is_said

        try:
            with waiting_is_said(self.location):
                yield
        except (DeltaError, OSError) as error:
            raise StoreError(f"{VARIABLE} {self.location!r} cannot be {done}: {cause_of(error)}") from error


def shared_cache() -> SharedCache | None:
    """The shared cache; None unless the environment names one."""
    location = os.environ.get(VARIABLE, "").rstrip("/")
    return SharedCache(location) if location else None


def try_shared_cache() -> None:
    """Make sure that the shared cache can be written, before any work.

    Raises:
        UsageError: it is no URL.
        StoreError: it cannot be written.
    """
    from robustbench_wb.object_store import is_url, try_url

    shared = shared_cache()
    if shared is None:
        return
    if not is_url(shared.location):
        raise UsageError(
            f"{VARIABLE} is a URL like s3://bucket/cache, not {shared.location!r}; for a folder, set RBWB_CACHE_DIR"
        )
    try_url(shared.location, VARIABLE)
