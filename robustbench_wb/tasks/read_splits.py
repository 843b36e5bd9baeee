"""Rows of a located dataset, without the messages that the library prints beside its errors."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING

from robustbench_wb.errors import DataError
from robustbench_wb.tasks.dataset_source import DatasetSource

if TYPE_CHECKING:
    from datasets import Dataset as HubRows
    from datasets import DatasetDict


def read_splits(source: DatasetSource) -> "DatasetDict":
    """Rows of all splits, by name of the split.

    Raises:
        DataError: the dataset cannot be read, or its files have different columns.
    """
    try:
        with silent_library():
            return source.open()
    except DataError as error:
        columns = _different_columns(error)
        if columns is None:
            raise
        one, other = (", ".join(names) for names in columns)
        place, _, _ = str(error).partition(" cannot be read:")
        raise DataError(f"{place} has files with different columns: {one} in one, {other} in another") from error


def require_column(rows: "HubRows", column: str, name: str) -> None:
    """Refuse rows of the dataset ``name`` without a column.

    Raises:
        DataError: the column is missing.
    """
    if column not in rows.column_names:
        raise DataError(f"{name} has the columns {', '.join(rows.column_names)}; a task needs {column!r}")


@contextmanager
def silent_library() -> Iterator[None]:
    """Keep ``datasets`` from logging in the block what its errors say as well."""
    import_module("datasets")  # which sets the level that is put back
    logger = logging.getLogger("datasets")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def _different_columns(error: BaseException) -> tuple[list[str], list[str]] | None:
    """Columns of two files that do not fit together, if this is the cause of an error."""
    from datasets.table import CastError

    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, CastError):
        cause = cause.__cause__
    if cause is None or cause.table_column_names == cause.requested_column_names:
        return None
    return cause.table_column_names, cause.requested_column_names
