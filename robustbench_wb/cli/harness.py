"""The front door as plain Python: what the commands do, without parsing and printing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from robustbench_wb.engine.doctor.diagnose import diagnose
from robustbench_wb.engine.doctor.finding import Diagnosis
from robustbench_wb.engine.job import Prepared
from robustbench_wb.engine.layers import SubjectLayers, subject_layers
from robustbench_wb.engine.record import Measured
from robustbench_wb.engine.repeat import repeat
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.engine.run import measure_all
from robustbench_wb.engine.train import TrainedSubject, train_subjects
from robustbench_wb.errors import ExitCode, UsageError
from robustbench_wb.progress import Progress, Silent
from robustbench_wb.registry import suggest
from robustbench_wb.stats.align import ALLOWABLE
from robustbench_wb.stats.compare import compare, needed
from robustbench_wb.stats.comparison import Comparison
from robustbench_wb.stats.corruption_errors import CorruptionErrors, corruption_errors
from robustbench_wb.stats.curves import Curve
from robustbench_wb.stats.curves import curves as find_curves
from robustbench_wb.stats.lengths import LengthCurve, length_curves
from robustbench_wb.stats.multiplicity import ADJUST, Correction
from robustbench_wb.stats.noise import Noise, noise_of
from robustbench_wb.stats.score import score_rows
from robustbench_wb.stats.strength import RowStrength, Runs, strengths
from robustbench_wb.store.location import prepare
from robustbench_wb.store.provenance import collect
from robustbench_wb.store.records import RecordStore
from robustbench_wb.store.rows import ScoreRow
from robustbench_wb.store.scores import ScoreTable
from robustbench_wb.store.side import Side, find_records, read_side
from robustbench_wb.stressors.attacks.attack import Attack
from robustbench_wb.stressors.catalogue import parse_stressor


@dataclass(frozen=True)
class Curves:
    """What one version has at several strengths."""

    strengths: list[Curve]
    lengths: list[LengthCurve]
    errors: list[CorruptionErrors]


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
    job = Prepared(request, progress or Silent())
    prepare(results)
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
    return train_subjects(Prepared(request, progress or Silent()))


def layers(request: RunRequest, progress: Progress | None = None) -> SubjectLayers:
    """What each layer of one subject does on one task, clean and under the request's stressors. Nothing is kept.

    Raises:
        UsageError: the request or the data cannot be used, or the subject is not a transformer of this harness.
        MeasurementError: the subject cannot be had, or a stressor or the model failed.
    """
    return subject_layers(Prepared(request, progress or Silent()))


def doctor(request: RunRequest, progress: Progress | None = None) -> Diagnosis:
    """Examine the first subject of a request on its first task; train nothing, write nothing.

    Raises:
        UsageError: the request or the data cannot be used.
    """
    return diagnose(Prepared(request, progress or Silent()))


def selfcheck(request: RunRequest, times: int = 3, progress: Progress | None = None, *, retrain: bool = False) -> Noise:
    """Measure every cell of a request so many times, with other batches, threads and order; write nothing.

    Raises:
        UsageError: the request or the data cannot be used.
    """
    return noise_of(repeat(request, times, progress or Silent(), retrain), retrain)


def diff(
    old: str,
    new: str,
    results: str = "results",
    *,
    delta: float = 1.0,
    allow: Sequence[str] = (),
    correction: str = "holm",
) -> Comparison:
    """Compare two tables sample by sample.

    Args:
        old: the earlier one: a version, ``PLACE:VERSION``, a results folder, or a file of ``leaderboard``; see
            :func:`robustbench_wb.store.side.read_side`.
        new: the later one.
        results: where versions without a place, and the records of files, are.
        delta: differences up to this count as none: points of accuracy, percent of perplexity (0 to 100).
        allow: fields that may differ, although they say what was measured.
        correction: ``holm`` or ``bh``.

    Raises:
        StoreError: there is no such version, folder or file.
        UsageError: an option is out of its range.
    """
    sides = read_side(old, results), read_side(new, results)
    return compare_sides(*sides, results, delta=delta, allow=allow, correction=correction)


def compare_sides(
    before: Side,
    after: Side,
    results: str = "results",
    *,
    delta: float = 1.0,
    allow: Sequence[str] = (),
    correction: str = "holm",
) -> Comparison:
    """:func:`diff` of tables that have been read."""
    if not 0 <= delta <= 100:
        raise UsageError(f"--delta {delta:g} is not in points from 0 to 100")
    if correction not in ADJUST:
        raise UsageError(f"unknown correction {correction!r}; use {' or '.join(ADJUST)}")
    for field in allow:
        if field not in ALLOWABLE:
            raise UsageError(f"--allow {field}: no such field; {suggest(field, list(ALLOWABLE))}")
    records = find_records((before, after), needed(before.rows, after.rows, allow), results)
    chosen = cast("Correction", correction)
    compared = compare(before.rows, after.rows, records, delta / 100, allow=allow, correction=chosen)
    return compared.model_copy(update={"old": before.name, "new": after.name})


def strength(
    subject: str, stressor: str | None = None, version: str | None = None, results: str = "results"
) -> tuple[int, list[RowStrength]]:
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
    return number, strengths(rows, RecordStore(results).find([row.key for row in rows]), _runs)


def curves(
    version: str | int | None = None, results: str = "results", baseline: str | None = None, alexnet: bool = False
) -> tuple[Curves, int]:
    """Accuracy against strength and length, and errors under common corruptions, from stored results; and the version.

    Args:
        version: like ``v3``; None is the latest.
        results: where the results live.
        baseline: a variant of the table that the corruption errors of all are measured by.
        alexnet: whether they are measured by AlexNet's: mCE, for ImageNet-C alone.

    Raises:
        StoreError: there is no such version.
        UsageError: it has no ladder of accuracies, no such baseline, or AlexNet is no reference for its rows.
    """
    table = ScoreTable(results)
    number = table.version(version)
    rows = table.rows(number)
    records = RecordStore(results).find([row.key for row in rows if row.key])
    found, lengths = find_curves(rows, records), length_curves(rows, records)
    if not (found or lengths):
        raise UsageError(f"v{number} has no accuracies at several strengths, so there are no curves")
    return Curves(found, lengths, corruption_errors(rows, records, baseline, alexnet)), number


def _runs(signature: str) -> Runs | None:
    """How many runs of how many steps an attack has; None for what is not one walk."""
    attack = parse_stressor(signature)
    return Runs(runs=attack.runs, steps=attack.iterations) if isinstance(attack, Attack) else None


def _measured(cells: list[Measured]) -> int:
    return sum(cell.record is not None and not cell.reused for cell in cells)


def _trained(cells: list[Measured]) -> int:
    fresh = {(c.cell.task, c.cell.variant, c.subject.weights) for c in cells if c.subject.trained}
    return len(fresh)


def _provenance(job: Prepared, request: RunRequest, command: str) -> dict[str, object]:
    return collect(
        device=str(job.device),
        seed=request.seed,
        suite=job.plan.suite,
        suite_version=job.plan.suite_version,
        spec=request.model_dump(mode="json"),
        command=command,
    )
