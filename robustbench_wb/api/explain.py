"""``explain``: why each cell of a request would be reused or measured."""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Unpack

from robustbench_wb.analysis.explanation import Explanation, RequestedCell, explain_cells
from robustbench_wb.api.request import ExperimentFields, make_experiment
from robustbench_wb.engine.brought_model import changed_parts
from robustbench_wb.engine.experiment import Experiment
from robustbench_wb.engine.planned_cells import planned_cells
from robustbench_wb.engine.prepared_run import prepare_experiment
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.engine.task_context import task_contexts
from robustbench_wb.errors import StoreError, UsageError
from robustbench_wb.frames import columns, names, to_frame
from robustbench_wb.progress import Progress, SilentProgress
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.store.score_table import ScoreTable

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class ExplainResult:
    """What a run would do with each cell of a request."""

    cells: tuple[Explanation, ...]

    def to_pandas(self) -> "pd.DataFrame":
        """A data frame with one row per cell."""
        return to_frame({**names(found.cell), **columns(found, ("cell",))} for found in self.cells)


def explain(
    request: RunRequest | Experiment | None = None,
    results: str = "results",
    *,
    pattern: str = "",
    progress: Progress | None = None,
    **fields: Unpack[ExperimentFields],
) -> ExplainResult:
    """Say of each cell of a request whether its record would be reused, and why not; nothing is trained or written.

    Args:
        request: as for ``robustbench_wb.run``; or pass its fields as keywords.
        results: folder or Delta URL where results live; it need not exist.
        pattern: only cells whose label matches, where ``*`` stands for anything; empty: all. See ``Cell.label``.
        progress: told what takes time.
        **fields: see ``robustbench_wb.run``.

    Raises:
        UsageError: the request or the data cannot be used, or no cell matches.
    """
    jobs = prepare_experiment(make_experiment(request, fields), progress or SilentProgress(), may_train=False)
    planned = [
        RequestedCell(cell=found.cell, identity=found.identity, reason=found.reason)
        for job in jobs
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
    versions = {} if keys <= stored else _versions(results)
    return ExplainResult(cells=tuple(explain_cells(planned, stored, rows=versions, changed_parts=changed_parts)))


def _versions(results: str) -> dict[int, list[ScoreRow]]:
    table = ScoreTable(results)
    try:
        return {info.number: table.rows(info.number) for info in reversed(table.versions())}
    except StoreError:  # there are none
        return {}
