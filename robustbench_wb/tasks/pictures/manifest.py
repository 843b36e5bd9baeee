"""Digests and sizes of picture files. A file is read once; later its size and times say that it is the same file."""

import hashlib
import io
import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from PIL import Image, UnidentifiedImageError

from robustbench_wb.errors import DataError
from robustbench_wb.folders import cache_folder, write_atomic
from robustbench_wb.spec import digest
from robustbench_wb.tasks.image_decoding import BROKEN, GREY_MODES

_FORMAT: Final = 2  # of the file in the cache; raise it when it changes
_READERS: Final = 8
"""Threads that read files; hashing and reading leave the interpreter free for each other."""
_SHOWN: Final = 3


@dataclass(frozen=True, kw_only=True)
class PictureFile:
    """What is known of the file of a picture."""

    size: int
    """Bytes of the file."""
    modified: int
    """Time of the last change of its bytes in nanoseconds, which programs may set."""
    changed: int
    """Time of the last change of the file or its properties in nanoseconds, which only the system sets."""
    sha256: str
    """Digest (hex) of its bytes."""
    width: int
    height: int
    grey: bool


def read_manifest(folder: Path, files: Sequence[str]) -> dict[str, PictureFile]:
    """What is known of each file; only files that are new or changed since the last call are read.

    Args:
        folder: the folder of the pictures.
        files: paths relative to it.

    Raises:
        DataError: a file cannot be read, or is no picture.
    """
    path = cache_folder("pictures") / f"{digest([_FORMAT, str(folder.resolve())])[:32]}.json"
    known = _load(path)
    found: dict[str, PictureFile] = {}
    unread: list[str] = []
    for name in files:
        before, stat = known.get(name), _stat(folder / name)
        times = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        if before is not None and (before.size, before.modified, before.changed) == times:
            found[name] = before
        else:
            unread.append(name)
    if unread:
        with ThreadPoolExecutor(_READERS) as pool:
            read = list(pool.map(_read, (folder / name for name in unread)))
        broken = [f"{name} ({one})" for name, one in zip(unread, read, strict=True) if isinstance(one, str)]
        if broken:
            more = f" and {len(broken) - _SHOWN} more" if len(broken) > _SHOWN else ""
            raise DataError(
                f"{len(broken)} of {len(files)} pictures in {folder} cannot be read: {', '.join(broken[:_SHOWN])}{more}"
            )
        found |= {name: one for name, one in zip(unread, read, strict=True) if isinstance(one, PictureFile)}
        content = {name: asdict(one) for name, one in {**known, **found}.items()}
        write_atomic(path, lambda temporary: temporary.write_text(json.dumps(content), encoding="utf-8"))
    return {name: found[name] for name in files}


def _load(path: Path) -> Mapping[str, PictureFile]:
    """Manifest of an earlier call; empty if there is none, or if it is damaged and must be made again."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {name: PictureFile(**fields) for name, fields in content.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _stat(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise DataError(f"picture {path} cannot be read: {error.strerror}") from error


def _read(path: Path) -> PictureFile | str:
    """What is known of one file, or why it is no picture."""
    try:
        stat, content = path.stat(), path.read_bytes()
        with Image.open(io.BytesIO(content)) as picture:
            width, height = picture.size
            grey = picture.mode in GREY_MODES
    except UnidentifiedImageError:
        return "it is no picture" if content else "it is empty"
    except BROKEN as error:
        return str(error).replace(f" {str(path)!r}", "")
    sha256 = hashlib.sha256(content).hexdigest()
    return PictureFile(
        size=stat.st_size,
        modified=stat.st_mtime_ns,
        changed=stat.st_ctime_ns,
        sha256=sha256,
        width=width,
        height=height,
        grey=grey,
    )
