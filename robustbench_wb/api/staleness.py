"""Notes on tables that cannot show what a reader expects: one that older code measured, or that was stopped early."""

from pathlib import Path
from typing import Final

from robustbench_wb.errors import StoreError
from robustbench_wb.object_store import is_url
from robustbench_wb.records.names import is_date
from robustbench_wb.source import PACKAGE_ROOT
from robustbench_wb.store.loaded_table import LoadedTable
from robustbench_wb.store.provenance import git_state
from robustbench_wb.store.score_table import ScoreTable

_SHOWN: Final = 12
"""Displayed characters of a commit."""
_LISTED: Final = 3
"""Displayed cells of edited rows."""


def require_rows(*tables: LoadedTable) -> None:
    """Reject tables without rows, with which any comparison would pass.

    Raises:
        StoreError: a table has no rows.
    """
    for table in tables:
        if not table.rows:
            raise StoreError(f"{table.name!r} has no rows: it is empty or was cut off; name a table with results")


def same_version_notes(before: LoadedTable, after: LoadedTable) -> tuple[str, ...]:
    """Note that both tables are one version; empty if they are not."""
    if before.version is None or before.version != after.version or _place(before) != _place(after):
        return ()
    return (f"{after.name} is compared with itself: nothing was measured after it",)


def old_code_notes(table: LoadedTable) -> tuple[str, ...]:
    """Note that a version was measured by another commit of this package than the one checked out; else empty."""
    if table.version is None:
        return ()
    try:
        measured = ScoreTable(table.location).info(table.version).provenance.get("git")
    except StoreError:
        return ()
    commit = measured.get("commit") if isinstance(measured, dict) else None
    here = git_state(PACKAGE_ROOT)
    if not isinstance(commit, str) or here is None or commit == here["commit"]:
        return ()
    was, now = commit[:_SHOWN], here["commit"][:_SHOWN]
    return (f"{table.name} was measured at commit {was}, and the tree is at {now}: run again to judge the tree",)


def stopped_notes(*tables: LoadedTable) -> tuple[str, ...]:
    """Note on the evaluations that a decision has stopped; empty if there are none."""
    count = sum(row.is_stopped for table in tables for row in (*table.rows, *table.pinned))
    if not count:
        return ()
    what = "1 evaluation was" if count == 1 else f"{count} evaluations were"
    return (f"{what} stopped by a decision: `gate` compares them one sample after the other, and nothing ranks them",)


def edited_notes(table: LoadedTable) -> tuple[str, ...]:
    """Note the rows of a file that were edited after they were written; empty if there are none.

    A version needs no such note, and a baseline has a digest of its own.
    """
    edited = [row for row in table.rows if row.checksum and row.checksum != row.computed_checksum]
    if table.version is not None or table.records or not edited:
        return ()
    dates = [row.strength for row in edited if is_date(row.strength)]
    why = f"; strength {dates[0]!r} is a date that a spreadsheet made of a fraction" if dates else ""
    cells = ", ".join(row.cell for row in edited[:_LISTED]) + (", ..." if len(edited) > _LISTED else "")
    verb = "row was" if len(edited) == 1 else "rows were"
    return (f"{table.name}: {len(edited)} {verb} edited ({cells}){why}; `verify {table.name}` names the columns",)


def _place(table: LoadedTable) -> str:
    return table.location if is_url(table.location) else str(Path(table.location).expanduser().resolve())
