"""``explain`` as plain Python: what the command does, without parsing and printing."""

from fnmatch import fnmatchcase

from robustbench_wb.analysis.explanation import Explanation, RequestedCell, explain_cells
from robustbench_wb.engine.planned_cells import planned_cells
from robustbench_wb.engine.prepared_run import PreparedRun
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.engine.task_context import task_contexts
from robustbench_wb.errors import StoreError, UsageError
from robustbench_wb.progress import Progress, SilentProgress
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.store.score_table import ScoreTable


def explain(
    request: RunRequest, results: str = "results", pattern: str = "", progress: Progress | None = None
) -> list[Explanation]:
    """Why each cell of a request would be reused or measured; nothing is trained, measured or written.

    Args:
        request: as for a run.
        results: where the results live; there need not be any.
        pattern: cells whose label it matches, ``*`` standing for anything; empty: all. See :attr:`Cell.label`.
        progress: told what takes time.

    Raises:
        UsageError: the request or the data cannot be used, or no cell of it is called so.
    """
    job = PreparedRun(request, progress or SilentProgress(), may_train=False)
    planned = [
        RequestedCell(cell=found.cell, identity=found.identity, reason=found.reason)
        for context in task_contexts(job)
        for plan in context.subjects
        for found in planned_cells(context, plan, lambda cell: fnmatchcase(cell.label, f"*{pattern}*"))
    ]
    if not planned:
        raise UsageError(f"no cell of the request is called {pattern!r}; `explain` without it names them all")
    store = RecordStore(results)
    keys = {one.identity.key for one in planned if one.identity is not None}
    known, damaged = store.examine(sorted(keys))
    stored = {*known, *damaged}
    # Versions are read only to say what changed.
    return explain_cells(planned, stored, {} if keys <= stored else _versions(results))


def _versions(results: str) -> dict[int, list[ScoreRow]]:
    table = ScoreTable(results)
    try:
        return {info.number: table.rows(info.number) for info in reversed(table.versions())}
    except StoreError:  # there are none
        return {}
