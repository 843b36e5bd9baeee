"""``run``: measure a suite on tasks and models, and commit one version of the score table."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, TypeVar, Unpack

from robustbench_wb.analysis.gate.gate_result import GateResult
from robustbench_wb.analysis.headline.headline import Headline
from robustbench_wb.analysis.headline.make_headline import make_headline
from robustbench_wb.analysis.score import score_rows
from robustbench_wb.api.request import ExperimentFields, make_experiment
from robustbench_wb.api.stopping_rule import stopping_rule
from robustbench_wb.engine.device import hardware
from robustbench_wb.engine.experiment import Experiment
from robustbench_wb.engine.prepared_run import PreparedRun, prepare_experiment
from robustbench_wb.engine.repeat import repeat_request
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.engine.run import measure_each
from robustbench_wb.engine.run_log import open_run_log
from robustbench_wb.errors import ExitCode
from robustbench_wb.frames import columns, to_frame
from robustbench_wb.interrupts import watching_interrupts
from robustbench_wb.progress import Progress, SilentProgress
from robustbench_wb.records.record import Measurement
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.report.gate import gate_screen
from robustbench_wb.report.headline import first_screen, saved_line
from robustbench_wb.report.text_block import plain_text
from robustbench_wb.shared_cache import try_shared_cache
from robustbench_wb.store.location import new_location
from robustbench_wb.store.provenance import collect_provenance
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.store.score_table import ScoreTable

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class FailedLadder:
    """Evaluations of one model under one stressor that failed, or some of whose samples errored."""

    evaluations: tuple[str, ...]
    """Their names, like ``digits smoke adversarial: vit-nano standard seed 0, pgd-linf@8/255``."""
    error: str
    """The reason of the first one, one line."""
    request: RunRequest
    """The request that repeats the ladder alone. Modules in memory go with it."""


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """Outcome of a finished run. Printing it shows the headline numbers."""

    rows: tuple[ScoreRow, ...]
    """One per cell, errors included."""
    headline: Headline
    """Headline numbers, best model first, like the joint robust accuracy at one radius."""
    results: str
    """Folder or Delta URL of the version."""
    version: int
    """Version that the run committed to the score table."""
    measured: int
    """Cells measured now."""
    reused: int
    """Cells found in the store."""
    trained: int
    """Models trained now."""
    log: str
    """File with one line of JSON for each shard, lost worker and evaluation."""
    failed: tuple[FailedLadder, ...] = ()
    """Evaluations that failed, in the order of the rows, with the requests that repeat them."""
    notes: tuple[str, ...] = ()
    """Models in memory whose records cannot be reused, and why; one line each."""
    gate: GateResult | None = None
    """Decisions on the cells against the baseline, if the run went on until they were decided."""

    @property
    def exit_code(self) -> ExitCode:
        """``INCOMPLETE`` if any cell errored, else ``OK``."""
        return ExitCode.OK if all(row.status == "ok" for row in self.rows) else ExitCode.INCOMPLETE

    def to_pandas(self) -> "pd.DataFrame":
        """A data frame with one row per cell and the columns of the score table."""
        return to_frame(columns(row) for row in self.rows)

    def __str__(self) -> str:
        text = plain_text(first_screen(self.headline) if self.gate is None else gate_screen(self.gate, of_run=True))
        return "\n".join([text, self.saved, *self.notes])

    @property
    def saved(self) -> str:
        """What the run stored, one line."""
        return saved_line(
            version=self.version,
            results=self.results,
            measured=self.measured,
            reused=self.reused,
            trained=self.trained,
        )


def run(
    request: RunRequest | Experiment | None = None,
    results: str = "results",
    *,
    progress: Progress | None = None,
    command: str = "",
    log: str | None = None,
    until_decided: bool = False,
    baseline: str | None = None,
    margin: float | None = None,
    **fields: Unpack[ExperimentFields],
) -> RunResult:
    """Run suites on tasks, models, recipes and seeds, and commit one version of the score table.

    Cells whose key is in the store are reused. Measured cells are stored at once, so that a killed run continues where
    it stopped. A cell that fails becomes an error row and never stops the others.

    Args:
        request: what to run: a request, or an experiment (``robustbench_wb.read_experiment``); or pass its fields as
            keywords, like ``suite="clean", variants={"mine": module}, seeds=[0, 1, 2]``.
        results: folder or Delta URL where results live.
        progress: told what is done.
        command: what the user typed; kept as provenance.
        log: file for the log of the run, see ``docs/scale.md``; None: a new file in the folder ``logs`` of the cache.
        until_decided: whether to stop each cell when its verdict against the baseline is certain, see ``docs/gate.md``.
        baseline: what to compare with: a baseline file or any other table, see ``robustbench_wb.gate``.
        margin: largest accepted drop in every suite, in points; None: that of ``pyproject.toml``, else 1.
        **fields: see ``robustbench_wb.RunRequest``. ``suites``, ``recipes`` and ``seeds`` take several values in place
            of ``suite``, ``recipe`` and ``seed``; ``variants`` also takes modules in memory by name.

    Raises:
        UsageError: the request, the data, the results location or the log cannot be used; no result has been written.
        StoreError: the baseline cannot be read or has no rows, or was changed.
    """
    rule = stopping_rule(until_decided, baseline=baseline, margin=margin, results=results)
    wanted = make_experiment(request, fields)
    jobs = prepare_experiment(wanted, progress or SilentProgress())
    try_shared_cache()
    with new_location(results) as place, watching_interrupts(), open_run_log(log) as (run_log, log_file):
        store = RecordStore(place)
        measured = measure_each(jobs, store, log=run_log, rule=rule)
    cells = [cell for part in measured for cell in part]
    rows = [row for part in measured for row in score_rows(part)]
    version = ScoreTable(place).commit(rows, _provenance(jobs, command))
    store.compact()
    records = {cell.record.key: cell.record for cell in cells if cell.record is not None}
    return RunResult(
        rows=tuple(rows),
        headline=make_headline(rows, records),
        results=results,
        version=version,
        measured=sum(cell.record is not None and not cell.reused for cell in cells),
        reused=sum(cell.reused for cell in cells),
        trained=_trained(cells),
        log=log_file,
        failed=tuple(_failed(jobs, measured)),
        notes=tuple(note for factory in wanted.settings.models.values() for note in factory.notes),
        gate=None if rule is None else rule.gate(rows, records, f"v{version}"),
    )


def _failed(jobs: Sequence[PreparedRun], measured: Sequence[Sequence[Measurement]]) -> Iterator[FailedLadder]:
    for job, cells in zip(jobs, measured, strict=True):
        failed = [one for one in cells if one.error]
        for request, those in groupby(failed, key=lambda one: repeat_request(job, one.cell)):
            own = list(those)
            yield FailedLadder(evaluations=tuple(one.cell.label for one in own), error=own[0].error, request=request)


def _trained(cells: list[Measurement]) -> int:
    fresh = {(c.cell.task, c.cell.variant, c.cell.recipe, c.subject.weights) for c in cells if c.subject.trained}
    return len(fresh)


def _provenance(jobs: Sequence[PreparedRun], command: str) -> dict[str, object]:
    plans = [job.plan for job in jobs]
    return collect_provenance(
        device=str(jobs[0].device),
        hardware=hardware(jobs[0].device),
        seed=_one_or_all(plan.seed for plan in plans),
        suite=_one_or_all(plan.suite for plan in plans),
        suite_version=_one_or_all(plan.suite_version for plan in plans),
        spec=_one_or_all(job.request.model_dump(mode="json") for job in jobs),
        command=command,
    )


def _one_or_all(values: Iterable[T]) -> T | list[T]:
    """The only one of some values, or the list of those that differ."""
    found: list[T] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found[0] if len(found) == 1 else found
