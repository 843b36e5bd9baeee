"""The front door as plain Python: what the commands do, without parsing and printing."""

from dataclasses import dataclass

from robustbench_wb.analysis.curves.attack_strength import AttackRuns, AttackStrength, attack_strengths
from robustbench_wb.analysis.gate.noise_floor import NoiseFloor, noise_floor_of
from robustbench_wb.analysis.score import score_rows
from robustbench_wb.api.compare import compare_sides as compare_sides
from robustbench_wb.api.compare import curves as curves
from robustbench_wb.api.compare import diff as diff
from robustbench_wb.engine.doctor.diagnose import diagnose
from robustbench_wb.engine.doctor.diagnosis import Diagnosis
from robustbench_wb.engine.layers import SubjectLayers, subject_layers
from robustbench_wb.engine.prepared_run import PreparedRun
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.engine.run import measure_all
from robustbench_wb.engine.selfcheck import selfcheck_runs
from robustbench_wb.engine.train import TrainedSubject, train_subjects
from robustbench_wb.errors import ExitCode, UsageError
from robustbench_wb.progress import Progress, SilentProgress
from robustbench_wb.records.record import Measurement
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.store.location import prepare_location
from robustbench_wb.store.provenance import collect_provenance
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.store.score_table import ScoreTable
from robustbench_wb.stressors.attacks.attack import Attack
from robustbench_wb.stressors.catalogue import parse_stressor


@dataclass(frozen=True)
class RunReport:
    """What a finished run amounts to."""

    rows: list[ScoreRow]
    """One per cell, errors included."""
    version: int
    """The version that the run committed to the score table."""
    measured: int
    """Cells measured now."""
    reused: int
    """Cells found in the store."""
    trained: int
    """Subjects trained now."""

    @property
    def exit_code(self) -> ExitCode:
        """``INCOMPLETE`` when any cell errored, else ``OK``."""
        return ExitCode.OK if all(row.status == "ok" for row in self.rows) else ExitCode.INCOMPLETE


def run(
    request: RunRequest, results: str = "results", progress: Progress | None = None, command: str = ""
) -> RunReport:
    """Run a suite and commit one version of the score table.

    Cells whose key is in the store are reused; finished ones are kept at once, so that a killed run goes on where it
    was. Cells that fail become error rows and never stop the others.

    Raises:
        UsageError: the request, the data or the results location cannot be used; nothing has been written then.
    """
    job = PreparedRun(request, progress or SilentProgress())
    prepare_location(results)
    store = RecordStore(results)
    cells = measure_all(job, store)
    rows = score_rows(cells)
    version = ScoreTable(results).commit(rows, _provenance(job, request, command))
    store.tidy()
    return RunReport(rows, version, _measured(cells), sum(cell.reused for cell in cells), _trained(cells))


def train(request: RunRequest, progress: Progress | None = None) -> list[TrainedSubject]:
    """Train every subject of a request that is not in the cache yet; measure nothing.

    A subject that cannot be built or diverges is in the list with its error.

    Raises:
        UsageError: the request or the data cannot be used.
    """
    return train_subjects(PreparedRun(request, progress or SilentProgress()))


def layers(request: RunRequest, progress: Progress | None = None) -> SubjectLayers:
    """What each layer of one subject does on one task, clean and under the request's stressors. Nothing is kept.

    Raises:
        UsageError: the request or the data cannot be used, or the subject is not a transformer of this harness.
        MeasurementError: the subject cannot be had, or a stressor or the model failed.
    """
    return subject_layers(PreparedRun(request, progress or SilentProgress()))


def doctor(request: RunRequest, progress: Progress | None = None) -> Diagnosis:
    """Examine the first subject of a request on its first task; train nothing, write nothing.

    Raises:
        UsageError: the request or the data cannot be used.
    """
    return diagnose(PreparedRun(request, progress or SilentProgress()))


def selfcheck(
    request: RunRequest, times: int = 3, progress: Progress | None = None, *, retrain: bool = False
) -> NoiseFloor:
    """Measure every cell of a request so many times, with other batches, threads and order; write nothing.

    Raises:
        UsageError: the request or the data cannot be used.
    """
    return noise_floor_of(selfcheck_runs(request, times, progress or SilentProgress(), retrain), retrain)


def strength(
    subject: str, stressor: str | None = None, version: str | None = None, results: str = "results"
) -> tuple[int, list[AttackStrength]]:
    """What the budgets of a subject's attacks bought, from stored records: the table's version, and its graded rows.

    Args:
        subject: a variant as the table names it, with or without its size.
        stressor: the rows of one name, with these numbers; None: all.
        version: like ``v3``; None is the latest.
        results: where the results live.

    Raises:
        StoreError: there is no such version.
        UsageError: it has no such row.
    """
    table = ScoreTable(results)
    number = table.version(version)
    graded = [row for row in table.rows(number) if row.grade]
    own = [row for row in graded if subject in (row.variant, f"{row.variant}-{row.size}")]
    wanted = [part.strip() for part in (stressor or "").split(";") if part.strip()]
    rows = [row for row in own if set(wanted) <= set(row.signature.split(";"))]
    if not rows:
        known = dict.fromkeys(row.stressor if own else row.variant for row in own or graded)
        what = f"graded row of {subject!r}" + (f" under {stressor!r}" if own else "")
        raise UsageError(f"v{number} has no {what}; it has: {', '.join(known) or 'none, a new run grades them'}")
    return number, attack_strengths(rows, RecordStore(results).find([row.key for row in rows]), _runs)


def _runs(signature: str) -> AttackRuns | None:
    """How many runs of how many steps an attack has; None for what is not one walk."""
    attack = parse_stressor(signature)
    return AttackRuns(runs=attack.runs, steps=attack.iterations) if isinstance(attack, Attack) else None


def _measured(cells: list[Measurement]) -> int:
    return sum(cell.record is not None and not cell.reused for cell in cells)


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
