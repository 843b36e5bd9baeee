"""Pictures of a folder with their labels: class folders, or a flat folder with a table of labels."""

import csv
import io
import logging
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from robustbench_wb.errors import DataError
from robustbench_wb.tasks.mirror import walk_files
from robustbench_wb.text_files import parse_json, read_text, reason_of

_log = logging.getLogger(__name__)
SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".pgm", ".ppm", ".pnm", ".tif", ".tiff", ".webp"})
"""Endings of the names of pictures, in small letters."""
LABEL_FILES: Final = ("labels.csv", "labels.json", "labels.jsonl", "metadata.csv", "metadata.jsonl")
"""Names under which a table of labels is found in the folder itself."""
_FILE_COLUMNS: Final = ("file_name", "filename", "file", "path", "image", "image_id")
LABEL_COLUMNS: Final = ("label", "labels", "class", "class_name", "target")
"""Usual names of the column of labels, in small letters."""
_WHOLE: Final = r"\+?\d+(\.0*)?"
SPLITS: Final[Mapping[str, str]] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
"""Split that a folder of a name is, in small letters."""


@dataclass(frozen=True)
class LabelledPictures:
    """Pictures of one split, sorted by name."""

    files: tuple[str, ...]
    """Paths relative to the folder, with ``/``."""
    labels: tuple[str, ...]
    """Label of each picture: the name of its class folder, or what the table of labels says."""
    empty: tuple[str, ...] = ()
    """Names of class folders without pictures, sorted."""


def list_splits(folder: Path, labels: Path | None) -> dict[str, LabelledPictures]:
    """Pictures of each split of a folder, by ``train``, ``validation`` or ``test``.

    If all of the folder's own folders are called like splits, they are splits. Any other folder is one split, ``test``.
    A table of labels has the columns ``file_name`` and ``label`` (or a usual other name of these), or is a JSON object
    from file to label. Hidden files and pipes are left out; so are, with a warning, files of class folders that are not
    named like pictures, pictures beside class folders, and pictures that the table does not name. Links are followed.

    Args:
        folder: the folder.
        labels: table of labels; None: one of ``LABEL_FILES`` in the folder, or the names of class folders.

    Raises:
        DataError: there are no pictures, or a picture has no label.
    """
    inside = _folders(folder)
    if labels is None and inside and all(name.lower() in SPLITS for name in inside):
        return _splits(folder, inside)
    return {"test": _one(folder, labels)}


def _splits(folder: Path, names: Sequence[str]) -> dict[str, LabelledPictures]:
    found: dict[str, LabelledPictures] = {}
    for name in names:
        split = SPLITS[name.lower()]
        if split in found:
            raise DataError(f"{folder} has several folders of the split {split}: {', '.join(names)}")
        own = _one(folder / name, None)
        found[split] = replace(own, files=tuple(f"{name}/{file}" for file in own.files))
    return found


def _one(folder: Path, labels: Path | None) -> LabelledPictures:
    """Pictures of a folder that is one split."""
    table = labels or next((folder / name for name in LABEL_FILES if (folder / name).is_file()), None)
    files, others = _files(folder)
    if table is None:
        return _by_folder(folder, files, others)
    if not files:
        raise DataError(_nothing(folder, table))
    known, present = _label_table(table), set(files)
    missing = [name for name in known if name not in present]
    if missing and missing[0] in others:
        raise DataError(f"{table} names {missing[0]}, which does not end like a picture: {', '.join(sorted(SUFFIXES))}")
    if missing:
        raise DataError(f"{table} names files that {folder} lacks: {len(missing)}, first {missing[0]}")
    chosen = [file for file in files if file in known]
    _warn_left_out(folder, [file for file in files if file not in known], f"a label in {table.name}")
    return LabelledPictures(tuple(chosen), tuple(known[file] for file in chosen))


def _by_folder(folder: Path, files: Sequence[str], others: Sequence[str]) -> LabelledPictures:
    """Pictures labelled by the names of their class folders, and a warning of what is left out."""
    inside = [file for file in files if "/" in file]
    if not inside:
        raise DataError(_nothing(folder, None))
    _warn_left_out(folder, [file for file in files if "/" not in file], "a class folder")
    _warn_left_out(folder, [file for file in others if "/" in file], "the ending of a picture")
    classes = [file.split("/")[0] for file in inside]
    empty = {item.name for item in folder.iterdir() if item.is_dir() and not item.name.startswith(".")}
    return LabelledPictures(tuple(inside), tuple(classes), tuple(sorted(empty.difference(classes))))


def _warn_left_out(folder: Path, files: Sequence[str], why: str) -> None:
    if files:
        _log.warning("%s: files without %s are left out: %d, first %s", folder, why, len(files), files[0])


def _nothing(folder: Path, table: Path | None) -> str:
    if table is not None:
        return f"{folder} has no pictures"
    return (
        f"{folder} has no pictures in class folders; put each picture into a folder named like its class, or write "
        "a table labels.csv with the columns file_name and label; for texts, write texts: instead of folder:"
    )


def _folders(folder: Path) -> list[str]:
    """Names of the folders in a folder that hold pictures, sorted, without hidden ones."""
    try:
        inside = sorted(item for item in folder.iterdir() if item.is_dir() and not item.name.startswith("."))
    except OSError as error:
        raise DataError(f"folder {folder} cannot be read: {error.strerror}") from error
    return [item.name for item in inside if next(picture_files(item), None) is not None]


def picture_files(folder: Path) -> Iterator[Path]:
    """Pictures below a folder, by their names, in sorted order. Hidden files and pipes are left out."""
    return (path for path in walk_files(folder, hidden=False) if _is_picture(path) and not _is_special(path))


def _files(folder: Path) -> tuple[list[str], list[str]]:
    """Relative paths of the pictures below a folder, and of all other files, in sorted order."""
    found: tuple[list[str], list[str]] = [], []
    for path in walk_files(folder, hidden=False):
        if not _is_special(path):
            found[not _is_picture(path)].append(path.relative_to(folder).as_posix())
    return found


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def _is_special(path: Path) -> bool:
    """Whether a path is a pipe, a socket or a device, which reading might wait for without end."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:  # a dangling link, which is told when it is read
        return False


def _label_table(path: Path) -> dict[str, str]:
    """Label of each file that a table names.

    Raises:
        DataError: the table cannot be read, lacks a column, or has two labels for one file.
    """
    try:
        text = read_text(path)
        if path.suffix == ".csv":
            pairs = _pairs(list(csv.DictReader(io.StringIO(text), strict=True)), path)
        elif path.suffix == ".jsonl":
            pairs = _pairs([parse_json(line) for line in text.splitlines() if line.strip()], path)
        else:
            content = parse_json(text)
            pairs = list(content.items()) if isinstance(content, dict) else _pairs(content, path)
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"labels {path} cannot be read: {reason_of(_plain(error))}") from error
    found: dict[str, str] = {}
    for name, value in pairs:
        file, label = name.strip().replace("\\", "/").removeprefix("./"), "" if value is None else str(value).strip()
        if not label:
            raise DataError(f"labels {path}: {file} has no label")
        if found.setdefault(file, label) != label:
            raise DataError(f"labels {path}: {file} has the labels {found[file]} and {label}")
    return _whole(found, path)


def _whole(labels: dict[str, str], path: Path) -> dict[str, str]:
    """Labels that are all numbers, without a decimal point: tables of pandas have 3.0 for 3. Words stay as they are.

    Raises:
        DataError: a number is no whole number from 0.
    """
    if not all(re.fullmatch(r"[+-]?\d+(\.\d*)?", label) for label in labels.values()):
        return labels
    odd = next((f"{file} has {label}" for file, label in labels.items() if not re.fullmatch(_WHOLE, label)), None)
    if odd is not None:
        raise DataError(f"labels {path}: {odd}; a label is a word or a whole number from 0")
    return {file: str(int(label.partition(".")[0])) for file, label in labels.items()}


def _plain(error: OSError | ValueError | csv.Error) -> OSError | ValueError:
    if not isinstance(error, csv.Error):
        return error
    return ValueError("a quote is not closed" if "unexpected end of data" in str(error) else str(error))


def _pairs(rows: object, path: Path) -> list[tuple[str, object]]:
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"labels {path} has no rows of a file name and a label")
    named = {str(name).strip().lower(): name for name in rows[0]}
    file, label = (
        next((named[one] for one in names if one in named), None) for names in (_FILE_COLUMNS, LABEL_COLUMNS)
    )
    if file is None or label is None:
        columns = ", ".join(map(str, rows[0]))
        raise DataError(f"labels {path} has the columns {columns}; it needs file_name and label, separated by commas")
    return [(str(row.get(file)), row.get(label)) for row in rows]
