"""Symlinked folders inside a local mirror, and the class names that the files of a mirror hold."""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from robustbench_wb.errors import DataError, first_line

if TYPE_CHECKING:
    import pyarrow as pa

_DATA = (".parquet", ".arrow")


@contextmanager
def followed_mirror(hub_id: str, data_dir: str | None, config: str | None = None) -> Iterator[str | None]:
    """Give a mirror in which symlinked folders of a dataset are real folders, for as long as the block runs.

    The libraries that read datasets follow symlinked files, but not symlinked folders. Where the dataset has none, the
    mirror is given as it is.

    Args:
        hub_id: ``OWNER/NAME`` of the dataset.
        data_dir: folder of the mirror; None: the environment variable RBWB_DATA_DIR.
        config: configuration of the dataset, which a mirror may have as a folder.
    """
    root = data_dir or os.environ.get("RBWB_DATA_DIR")
    folder = mirror_folder(hub_id, root, config)
    if folder is None or not any(path.is_symlink() for path in folder.rglob("*") if path.is_dir()):
        yield root
        return
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / hub_id
        for path in walk_files(folder):
            place = copy / path.relative_to(folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(path.resolve())
        yield scratch


def mirror_folder(hub_id: str, root: str | None, config: str | None = None) -> Path | None:
    """Folder of a dataset in a mirror, symlinked folders included; None if there is no mirror or it lacks the dataset.

    The places are those of ``robustbench_wb.tasks.dataset_source.locate_dataset``.
    """
    base = Path(root).expanduser() if root else None
    if base is None or not base.is_dir():
        return None
    names = [hub_id, hub_id.split("/")[-1], *([config] if config else [])]
    folders = (base / name for name in names)
    return next((folder for folder in folders if any(path.suffix in _DATA for path in walk_files(folder))), None)


@dataclass(frozen=True)
class ClassNames:
    """Class names that a file of a mirror holds for its own rows."""

    rows: int
    names: tuple[str, ...] | None
    """Names in the order of the file's label numbers; None if the file names no classes."""


def class_names_of_files(folder: Path, column: str) -> Mapping[str, Sequence[ClassNames]]:
    """Class names of a label column, for each data file of each split, in the order of the rows.

    The library that reads datasets takes the names of the first file for all files, whatever the others hold.

    Raises:
        DataError: a file cannot be read.
    """
    import datasets

    with tempfile.TemporaryDirectory() as scratch:
        files = datasets.load_dataset_builder(str(folder), cache_dir=scratch).config.data_files or {}
    return {str(split): [_class_names(Path(file), column) for file in paths] for split, paths in files.items()}


def _class_names(file: Path, column: str) -> ClassNames:
    """Class names of one file; no rows and no names for a file of another format."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if file.suffix not in _DATA:
        return ClassNames(0, None)
    try:
        if file.suffix == ".parquet":
            rows, schema = pq.read_metadata(file).num_rows, pq.read_schema(file)
        else:
            with pa.memory_map(str(file)) as source:
                table = _arrow_table(source)
                rows, schema = len(table), table.schema
        known = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        names = known.get("info", {}).get("features", {}).get(column, {}).get("names")
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise DataError(f"data file {file} cannot be read: {first_line(error)}") from error
    return ClassNames(rows, None if names is None else tuple(map(str, names)))


def _arrow_table(source: "pa.NativeFile") -> "pa.Table":
    """Table of a memory-mapped Arrow file, which is a stream or, less often, a file with a footer."""
    import pyarrow as pa

    try:
        return pa.ipc.open_stream(source).read_all()
    except pa.ArrowInvalid:
        source.seek(0)
        return pa.ipc.open_file(source).read_all()


def walk_files(folder: Path, *, hidden: bool = True) -> Iterator[Path]:
    """Files below a folder, in sorted order. Symlinked folders are followed, each real folder once.

    Without ``hidden``, files and folders whose names begin with a dot are left out.
    """
    seen: set[str] = set()
    for where, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(where)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if hidden or not name.startswith("."))
        yield from (Path(where) / name for name in sorted(files) if hidden or not name.startswith("."))
