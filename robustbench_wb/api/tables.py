"""The two tables of a comparison, which may be logs of other tools."""

from pathlib import Path
from typing import NamedTuple

from robustbench_wb.analysis.log_table import log_differences, log_table, sample_numbering
from robustbench_wb.errors import StoreError
from robustbench_wb.store.loaded_table import LoadedTable, load_table
from robustbench_wb.store.sample_logs.find_log import find_log


class ComparedTables(NamedTuple):
    """Two tables, and what is unusual about them."""

    old: LoadedTable
    new: LoadedTable
    notes: tuple[str, ...] = ()
    """Differences between two logs, one line each."""
    sample_names: tuple[str, ...] = ()
    """Names of samples by id, if the tables are logs."""


def load_compared(old: str, new: str, results: str) -> ComparedTables:
    """Load two tables to be compared; see ``load_table``. Both may be per-sample logs of lm-evaluation-harness
    (``samples_*.jsonl``) or inspect_ai (``.json``, ``.eval``).

    Raises:
        StoreError: a table cannot be read, or only one of them is a log.
    """
    before, after = find_log(old), find_log(new)
    if before is None and after is None:
        return ComparedTables(load_table(old, results), load_table(new, results))
    if before is None or after is None:
        log, table = (new, old) if before is None else (old, new)
        raise StoreError(f"{log!r} is a log of another tool and {table!r} is not, or is cut off; compare two logs")
    numbering = sample_numbering((before, after))
    task = after.task or before.task or Path(new).stem
    return ComparedTables(
        log_table(before, old, task=task, numbering=numbering),
        log_table(after, new, task=task, numbering=numbering),
        notes=log_differences(before, after),
        sample_names=numbering,
    )
