"""Folders of arrays in the cache that machines share, like perturbed samples: made by one machine, copied by others."""

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypedDict

from robustbench_wb.shared_cache import shared_cache

_log = logging.getLogger(__name__)
_CARD: Final = "card.json"


class _Listing(TypedDict):
    """What the shared card of a folder holds."""

    card: dict[str, object]
    files: dict[str, str]
    """SHA-256 (hex) of each file, by name."""


def fetch_arrays(name: str, folder: Path) -> dict[str, object] | None:
    """Copy the files of a shared folder, and check their digests.

    Args:
        name: name of the folder below the shared cache.
        folder: where the files go.

    Returns:
        The card that the folder was shared with; None if the shared cache lacks it, or if it is damaged.

    Raises:
        StoreError: the shared cache cannot be read.
    """
    shared = shared_cache()
    content = None if shared is None else shared.read(f"{name}/{_CARD}")
    if shared is None or content is None:
        return None
    try:
        listing: _Listing = json.loads(content)
        whole = all(
            Path(file).name == file  # not a path that leads out of the folder
            and shared.fetch(f"{name}/{file}", folder / file)
            and _sha256(folder / file) == sha
            for file, sha in listing["files"].items()
        )
        card = listing["card"]
    except (ValueError, KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        _log.warning("%s at %s is damaged and is made again", name, shared.location)
        return None
    return card


def share_arrays(name: str, folder: Path, card: Mapping[str, object]) -> None:
    """Copy the files of a folder to the shared cache, and last its card, without which the copy is not found.

    Raises:
        StoreError: the shared cache cannot be written.
    """
    shared = shared_cache()
    if shared is None:
        return
    files = sorted(path for path in folder.iterdir() if path.name != _CARD and not path.name.startswith("."))
    for file in files:
        shared.share(file, f"{name}/{file.name}")
    listing = {"card": dict(card), "files": {file.name: _sha256(file) for file in files}}
    shared.write(f"{name}/{_CARD}", json.dumps(listing).encode())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
