"""Writing of files that a user names, which may be links, devices or pipes."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from robustbench_wb.folders import write_atomic


def write_export(path: Path, content: bytes) -> None:
    """Write a file that a user named.

    A regular file is replaced atomically and keeps its permissions. A symbolic link stays, and its target is written. A
    device, a pipe, and the file that standard output or error goes to are written as they are.
    """
    if path.exists():
        for standard in (1, 2):
            with suppress(OSError):  # a closed stream
                if os.path.samestat(path.stat(), os.fstat(standard)):
                    return _write_descriptor(os.dup(standard), content)
        if not path.is_file():
            return _write_descriptor(os.open(path, os.O_WRONLY), content)
    target = path.resolve()

    def write(temporary: Path) -> None:
        temporary.write_bytes(content)
        if target.exists():
            shutil.copymode(target, temporary)

    return write_atomic(target, write)


def _write_descriptor(descriptor: int, content: bytes) -> None:
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
