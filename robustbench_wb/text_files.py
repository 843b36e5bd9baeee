"""Text files that users bring, read as UTF-8 and parsed as TOML or JSON. Whatever they hold, there are two errors."""

import codecs
import io
import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
Text = TypeVar("Text", str, str | bytes)


def read_text(path: str | Path) -> str:
    """Read a text in UTF-8, with or without a byte order mark.

    Raises:
        OSError: the file cannot be read.
        ValueError: the content is not text in UTF-8, or no file can have this path.
    """
    content = Path(path).read_bytes()
    try:
        return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig").read()
    except UnicodeDecodeError as error:
        other = "UTF-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "in another encoding"
        raise ValueError(f"it is not text in UTF-8 but {other}; save it as UTF-8") from error


def parse_toml(text: str) -> dict[str, Any]:
    """Parse TOML.

    Raises:
        ValueError: the text is not TOML, or nested too deeply.
    """
    return _parse(tomllib.loads, text)


def parse_json(text: str | bytes) -> Any:
    """Parse JSON.

    Raises:
        ValueError: the text is not JSON, or nested too deeply.
    """
    return _parse(json.loads, text)


def _parse(parser: Callable[[Text], T], text: Text) -> T:
    try:
        return parser(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def reason_of(error: OSError | ValueError) -> str:
    """One line that says why a file cannot be read or written."""
    lines = (getattr(error, "strerror", None) or str(error)).splitlines()
    return lines[0] if lines else type(error).__name__


def is_file(path: Path) -> bool:
    """Whether a file exists; False also for a path that no file can have."""
    return _holds(path.is_file)


def is_folder(path: Path) -> bool:
    """Whether a folder exists; False also for a path that no folder can have."""
    return _holds(path.is_dir)


def _holds(asked: Callable[[], bool]) -> bool:
    try:
        return asked()
    except (OSError, ValueError):  # too long, or with a null byte
        return False
