"""Files that a user's code reads while it builds a model: what they hold is part of the model's identity."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import file_digest, sha256
from importlib.util import source_from_cache
from pathlib import Path
from types import FrameType

from robustbench_wb.models.installed import is_library_file, is_own_file
from robustbench_wb.source import source_digest

_BYTECODE = frozenset({".pyc", ".pyo"})
_DEVICES = ("/proc/", "/sys/", "/dev/")
_COMPILERS = ("torchinductor_", ".triton", "__pycache__")
"""Folders, by the beginning of their name, in which compilers keep code that they made themselves."""

_MESSAGES = frozenset({"linecache", "tokenize"})
"""Modules that read source code to show it in a warning or a traceback."""

_watching: list[dict[Path, None]] = []


@contextmanager
def watch_opened_files(found: dict[Path, None]) -> Iterator[None]:
    """Add every file that Python code opens for reading inside this context to ``found``.

    Files that compiled code opens by itself are not seen.
    """
    _install()
    _watching.append(found)
    try:
        yield
    finally:
        _watching.pop()


def content_digest(path: Path) -> str | None:
    """SHA-256 (hex) of a file; None for what has no content of its own.

    That is a file of a library, bytecode, a device, a file that is gone, and what a compiler keeps.
    """
    if path.suffix in _BYTECODE or str(path).startswith(_DEVICES) or is_library_file(str(path)):
        return None
    if any(part.startswith(_COMPILERS) for part in path.parts):
        return None
    try:
        if not path.is_file():
            return None
        if path.suffix == ".py":
            return source_digest(path.read_bytes())
        with path.open("rb") as file:
            return file_digest(file, "sha256").hexdigest()
    except SyntaxError:
        return sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


@cache
def _install() -> None:
    """Install the audit hook, once per process: Python has no way to remove one."""
    sys.addaudithook(_note)


def _note(event: str, arguments: tuple[object, ...]) -> None:
    """Note one event. An exception here would be raised in the code that opens the file."""
    if event != "open" or not _watching:
        return
    path, mode, flags = arguments
    if not isinstance(path, str | bytes) or not _reads(mode, flags):
        return
    frame = sys._getframe(1)
    if frame.f_globals.get("__name__") in _MESSAGES or _imports_library(frame):
        return
    try:
        found = Path(os.fsdecode(path)).absolute()
        # Where a module has bytecode, Python opens that alone.
        _watching[-1][Path(source_from_cache(found)) if found.suffix in _BYTECODE else found] = None
    except (OSError, ValueError):  # no working folder, or no path
        return


def _imports_library(frame: FrameType | None) -> bool:
    """Whether a library opens the file while it is imported, which happens once per process, for the first model."""
    while frame is not None and not is_own_file(frame.f_code.co_filename):
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def _reads(mode: object, flags: object) -> bool:
    """Whether a file is opened for reading alone: what it held before is what the code gets."""
    if isinstance(mode, str):
        return not set(mode) & set("wax+")
    return isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR) == 0
