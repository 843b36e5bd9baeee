"""Files in object stores, at any URL that Delta Lake supports (``s3://bucket/folder``).

Keys and addresses of the stores are read from the environment, like ``AWS_ENDPOINT_URL``.
"""

import logging
import re
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

# Streams of the public class around it, DeltaStorageHandler, cannot be written with pyarrow in Delta Lake 1.6.
from deltalake._internal import DeltaFileSystemHandler
from deltalake.exceptions import DeltaError

from robustbench_wb.errors import StoreError

PATIENCE: Final = {"max_retries": "1000", "retry_timeout": "180s"}
"""Options of Delta Lake at URLs: a store that does not answer is asked again for three minutes."""
QUIET_SECONDS: Final = 5.0
"""Seconds without an answer of a store after which a warning says that it is waited for."""

# Before any work, an address that is wrong must show at once.
_AT_ONCE: Final = {"max_retries": "2", "retry_timeout": "20s", "connect_timeout": "10s"}
_log = logging.getLogger(__name__)
_NESTED: Final = "\u21b3"  # the arrow before each cause of an error of an object store
_DRAWN: Final = re.compile("\x1b\\[[0-9;]*m|" + _NESTED)
_REPLY: Final = re.compile(r"<Message>([^<\n]+)</Message>")


def is_url(location: str) -> bool:
    """Whether ``location`` is a URL, which is passed to Delta Lake unchanged.

    Raises:
        StoreError: the location is no text.
    """
    if not isinstance(location, str):
        raise StoreError(f"results is the name of a folder or a URL, not {location!r}")
    return "://" in location


def store_options(location: str) -> dict[str, str] | None:
    """Options with which Delta Lake opens a URL; None for a folder."""
    return dict(PATIENCE) if is_url(location) else None


def open_files(location: str) -> DeltaFileSystemHandler:
    """Files of a folder or URL, by their paths below it.

    Raises:
        DeltaError: the location cannot be opened.
    """
    return DeltaFileSystemHandler(location, options=store_options(location))


def write_bytes(files: DeltaFileSystemHandler, path: str, content: bytes) -> None:
    """Write a file, which appears whole or not at all.

    Raises:
        OSError: the file cannot be written.
    """
    stream = files.open_output_stream(path)
    stream.write(content)
    stream.close()  # type: ignore[attr-defined]  # missing in the stubs of Delta Lake


def read_bytes(files: DeltaFileSystemHandler, path: str) -> bytes | None:
    """Content of a file; None if it does not exist.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        file = files.open_input_file(path)
    except FileNotFoundError:
        return None
    return bytes(file.read(file.size()))


def try_url(location: str, what: str = "results") -> None:
    """Write, read and remove a small file at a URL. Messages call the location ``what``.

    Raises:
        StoreError: this is not possible.
    """
    name, content = f".probe-{uuid.uuid4().hex}", b"probe"
    try:
        store = DeltaFileSystemHandler(location, options=_AT_ONCE)
        write_bytes(store, name, content)
        whole = read_bytes(store, name) == content
        store.delete_file(name)
    except (DeltaError, OSError, ValueError) as error:
        raise StoreError(f"{what} cannot be written to {location!r}: {cause_of(error)}") from error
    if not whole:
        raise StoreError(f"{what} cannot be written to {location!r}: what is read back differs from what was written")


@contextmanager
def waiting_is_said(location: str) -> Iterator[None]:
    """Warn once while the block waits for a store at a URL."""
    if not is_url(location):
        yield
        return
    said = "waiting for %s; a store that does not answer is asked again for up to three minutes"
    timer = threading.Timer(QUIET_SECONDS, _log.warning, (said, location))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def cause_of(error: BaseException) -> str:
    """One line about an error. Object stores say what happened in the last lines, or in the message of an XML reply."""
    text = _DRAWN.sub("", str(error))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    reply = _REPLY.search(text)
    if reply:
        return reply[1]
    return lines[0] if _NESTED not in str(error) else lines[-1]
