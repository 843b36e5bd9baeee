"""Arrays kept in the cache folder, by all that they depend on: making them takes long, and they can be made again."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.errors import DataError
from robustbench_wb.folders import cache_folder, write_atomic
from robustbench_wb.spec import digest

T = TypeVar("T")
_log = logging.getLogger(__name__)


def kept(
    key: dict[str, object],
    name: str,
    verb: str,
    fill: Callable[[Path], object],
    read: Callable[[Path, Any], T],
    kind: str = "datasets",
) -> T:
    """What ``read`` gives of the copy in the cache; made now by ``fill`` if a whole one is not there yet.

    ``key`` is all that the copy depends on, ``verb`` what makes it: ``decode``, ``encode`` or ``store``. ``fill``
    writes arrays into a folder and gives their card, which is written last: it makes the copy whole. ``read`` takes
    both. ``kind`` is the part of the cache that the folder is in.

    Raises:
        DataError: the copy of ``name`` cannot be read right after it was written.
    """
    folder = cache_folder(kind) / digest(key)[:32]
    found = _read(folder, verb, read)
    if found is None:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "card.json", fill(folder))
        found = _read(folder, verb, read)
    if found is None:
        raise DataError(f"{name}: the {verb}d copy in {folder} cannot be read right after it was written")
    return found


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write a whole ``.npy`` file or none."""
    write_atomic(path, lambda temporary: np.save(temporary, array))


def write_json(path: Path, content: object) -> None:
    """Write a whole ``.json`` file or none."""
    write_atomic(path, lambda temporary: temporary.write_text(json.dumps(content), encoding="utf-8"))


def _read(folder: Path, verb: str, read: Callable[[Path, Any], T]) -> T | None:
    """A whole copy; None when it is absent, unfinished or damaged."""
    card = folder / "card.json"
    if not card.is_file():
        return None
    try:
        return read(folder, json.loads(card.read_text(encoding="utf-8")))
    except (OSError, ValueError, EOFError, KeyError, TypeError) as error:
        _log.warning("the %sd copy in %s is damaged (%s); %sing again", verb, folder, error, verb.removesuffix("e"))
        return None
