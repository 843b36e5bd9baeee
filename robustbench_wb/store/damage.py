"""Damaged files of local results: Parquet files and commits that cannot be read."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

import pyarrow as pa

from robustbench_wb.errors import HarnessError
from robustbench_wb.store.parquet_content import parquet_table
from robustbench_wb.text_files import parse_json, read_text

TABLES: Final = ("records", "scores")
"""Names of the tables of a results folder."""
LOG: Final = "_delta_log"
"""Name of the folder with the commits of a table."""


class Commit(NamedTuple):
    """One commit of a table, read without Delta Lake."""

    number: int
    files: tuple[Path, ...]
    """Files with the rows that the commit added."""
    removed: tuple[Path, ...]
    """Files that it replaced."""
    info: dict[str, Any]
    """Metadata of the commit."""


def read_commits(table: Path) -> tuple[list[Commit], list[Path]]:
    """Commits of a table that can be read, in order, and the files of those that cannot."""
    found: list[Commit] = []
    damaged: list[Path] = []
    for path in sorted((table / LOG).glob("[0-9]*[0-9].json")):
        try:
            actions = [parse_json(line) for line in read_text(path).splitlines()]
            added, removed = (
                tuple(table / unquote(action[kind]["path"]) for action in actions if kind in action)
                for kind in ("add", "remove")
            )
            (info,) = [action["commitInfo"] for action in actions if "commitInfo" in action]
            found.append(Commit(number=int(path.stem), files=added, removed=removed, info=dict(info)))
        except (OSError, ValueError, TypeError, KeyError):
            damaged.append(path)
    return found, damaged


def read_parquet(path: Path) -> pa.Table | None:
    """All rows of a Parquet file; None if it is missing or damaged."""
    try:
        return parquet_table(path.read_bytes())
    except (OSError, pa.ArrowException, ValueError, OverflowError):
        return None


def damaged_files(folder: Path) -> Iterator[Path]:
    """Files of a results folder that are damaged or missing, of those that a commit names."""
    for table in (folder / name for name in TABLES):
        commits, damaged = read_commits(table)
        yield from damaged
        checkpoints = sorted((table / LOG).glob("*.checkpoint.parquet"))
        # Each version of the scores is needed; of the records, only the newest.
        replaced = {path for commit in commits for path in commit.removed} if table.name == "records" else set()
        named = dict.fromkeys(path for commit in commits for path in commit.files if path not in replaced)
        yield from (path for path in (*checkpoints, *named) if read_parquet(path) is None)


def name_damage(folder: Path) -> str:
    """Part of a message that names the first damaged file of a folder, and what to do; empty if none is found."""
    try:
        first = next(damaged_files(folder), None)
    except (OSError, HarnessError):
        return ""
    return f"; {str(first)!r} is damaged: `robustbench-wb repair {folder}` moves it aside" if first is not None else ""
