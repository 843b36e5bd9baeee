"""Cache of arrays that take long to make, addressed by the digest of everything they depend on.

The card of a copy has the digest of each of its files and of itself. Both are checked whenever a copy is read.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.errors import DataError
from robustbench_wb.folders import cache_folder, write_atomic
from robustbench_wb.spec import digest

T = TypeVar("T")
Card = TypeVar("Card")
_CARD = "card.json"
_log = logging.getLogger(__name__)


def load_or_make_arrays(
    key: Mapping[str, object],
    name: str,
    verb: str,
    fill: Callable[[Path], Card],
    read: Callable[[Path, Card], T],
    kind: str = "datasets",
) -> T:
    """Read arrays from the cache; make them first if the cache has no complete copy.

    Args:
        key: everything that the arrays depend on; its digest names the folder.
        name: what the arrays belong to, for the error message.
        verb: what making them is called in messages: ``decode``, ``encode``, ``generate`` or ``store``.
        fill: writes the arrays into a folder and returns their card. The card is written last, with the digests of all
            files, and completes the copy.
        read: reads the arrays, given the folder and the card.
        kind: part of the cache (``robustbench_wb.folders.cache_folder``).

    Raises:
        DataError: the copy cannot be read right after it was written.
    """
    folder = cache_folder(kind) / digest(key)[:32]
    found = _read(folder, verb, read)
    if found is None:
        folder.mkdir(parents=True, exist_ok=True)
        written = {"card": fill(folder), "files": _digests(folder)}
        write_json(folder / _CARD, {**written, "sha256": digest(written)})
        found = _read(folder, verb, read)
    if found is None:
        raise DataError(f"{name}: the {verb}d copy in {folder} cannot be read right after it was written")
    return found


def write_array(path: Path, array: NDArray[np.generic]) -> None:
    """Write an ``.npy`` file atomically."""
    write_atomic(path, lambda temporary: np.save(temporary, array))


def write_json(path: Path, content: object) -> None:
    """Write a ``.json`` file atomically."""
    write_atomic(path, lambda temporary: temporary.write_text(json.dumps(content), encoding="utf-8"))


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256 (hex) of the bytes of each file of a copy, by name, without the card and unfinished files."""
    found: dict[str, str] = {}
    for path in sorted(folder.iterdir()):
        if path.name != _CARD and not path.name.startswith("."):
            with path.open("rb") as file:
                found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _read(folder: Path, verb: str, read: Callable[[Path, Card], T]) -> T | None:
    """Read a copy; None if it is absent, unfinished, damaged, or of a release that wrote no digests."""
    card = folder / _CARD
    if not card.is_file():
        return None
    try:
        content = json.loads(card.read_text(encoding="utf-8"))
        if isinstance(content, dict) and "files" not in content:
            return None
        if content.pop("sha256") != digest(content) or content["files"] != _digests(folder):
            raise ValueError("its bytes are not those that were written")
        return read(folder, content["card"])
    except (OSError, ValueError, EOFError, KeyError, TypeError) as error:
        _log.warning("the %sd copy in %s is damaged (%s); %sing again", verb, folder, error, verb.removesuffix("e"))
        return None
