"""``run``: measure a suite on tasks and models, and commit one version of the score table."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Unpack

from robustbench_wb.analysis.score import score_rows
from robustbench_wb.api.request import RequestFields, make_request
from robustbench_wb.engine.prepared_run import PreparedRun
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.engine.run import measure_all
from robustbench_wb.errors import ExitCode
from robustbench_wb.frames import columns, to_frame
from robustbench_wb.interrupts import watching_interrupts
from robustbench_wb.progress import Progress, SilentProgress
from robustbench_wb.records.record import Measurement
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.report.scores import score_blocks
from robustbench_wb.report.text_block import plain_text
from robustbench_wb.store.location import prepare_location
from robustbench_wb.store.provenance import collect_provenance
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.store.score_table import ScoreTable

if TYPE_CHECKING:
    import pandas as pd

WIDTH = 100
"""Columns of a printed table."""


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """Outcome of a finished run. Printing it shows the score table."""

    rows: tuple[ScoreRow, ...]
    """One per cell, errors included."""
    version: int
    """Version that the run committed to the score table."""
    measured: int
    """Cells measured now."""
    reused: int
    """Cells found in the store."""
    trained: int
    """Models trained now."""
    notes: tuple[str, ...] = ()
    """Models in memory whose records cannot be reused, and why; one line each."""

    @property
    def exit_code(self) -> ExitCode:
        """``INCOMPLETE`` if any cell errored, else ``OK``."""
        return ExitCode.OK if all(row.status == "ok" for row in self.rows) else ExitCode.INCOMPLETE

    def to_pandas(self) -> "pd.DataFrame":
        """A data frame with one row per cell and the columns of the score table."""
        return to_frame(columns(row) for row in self.rows)

    def __str__(self) -> str:
        return "\n".join([plain_text(score_blocks(list(self.rows), self.version, WIDTH)).rstrip(), *self.notes])


def run(
    request: RunRequest | None = None,
    results: str = "results",
    *,
    progress: Progress | None = None,
    command: str = "",
    **fields: Unpack[RequestFields],
) -> RunResult:
    """Run a suite and commit one version of the score table.

    Cells whose key is in the store are reused. Measured cells are stored at once, so that a killed run continues where
    it stopped. A cell that fails becomes an error row and never stops the others.

    Args:
        request: what to run; or pass its fields as keywords, like ``suite="clean", variants={"mine": module}``.
        results: folder or Delta URL where results live.
        progress: told what is done.
        command: what the user typed; kept as provenance.
        **fields: see ``robustbench_wb.RunRequest``. ``variants`` also takes modules in memory by name.

    Raises:
        UsageError: the request, the data or the results location cannot be used; nothing has been written then.
    """
    wanted = make_request(request, fields)
    job = PreparedRun(wanted, progress or SilentProgress())
    place = prepare_location(results)
    store = RecordStore(place)
    with watching_interrupts():
        cells = measure_all(job, store)
    rows = score_rows(cells)
    version = ScoreTable(place).commit(rows, _provenance(job, wanted, command))
    store.compact()
    return RunResult(
        rows=tuple(rows),
        version=version,
        measured=sum(cell.record is not None and not cell.reused for cell in cells),
        reused=sum(cell.reused for cell in cells),
        trained=_trained(cells),
        notes=tuple(note for factory in wanted.models.values() for note in factory.notes),
    )


def _trained(cells: list[Measurement]) -> int:
    fresh = {(c.cell.task, c.cell.variant, c.subject.weights) for c in cells if c.subject.trained}
    return len(fresh)


def _provenance(job: PreparedRun, request: RunRequest, command: str) -> dict[str, object]:
    return collect_provenance(
        device=str(job.device),
        seed=request.seed,
        suite=job.plan.suite,
        suite_version=job.plan.suite_version,
        spec=request.model_dump(mode="json"),
        command=command,
    )
