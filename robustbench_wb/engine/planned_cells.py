"""What a run would measure, cell by cell, without measuring or training anything."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import cast

from robustbench_wb.engine.bench import Bench, LadderStep, NoRecords
from robustbench_wb.engine.plan import Ladder, SubjectPlan
from robustbench_wb.engine.prepared_run import PreparedRun
from robustbench_wb.engine.sample_choice import choose_samples
from robustbench_wb.engine.shortcuts import meets, shortcut_plans
from robustbench_wb.engine.subject import Subject
from robustbench_wb.errors import MeasurementError, as_measurement_error
from robustbench_wb.progress import HiddenJobProgress, JobTrackingProgress
from robustbench_wb.records.record import Cell, Identity
from robustbench_wb.stressors.training_contamination import TrainingContamination


@dataclass(frozen=True, eq=False)
class PlannedCell:
    """One cell of a request."""

    plan: SubjectPlan
    ladder: Ladder
    cell: Cell
    identity: Identity | None
    """None when it cannot be known, because a subject cannot be had."""
    reason: str = ""
    """Why not."""


def benches(job: PreparedRun) -> Iterator[tuple[Bench, list[SubjectPlan]]]:
    """Each task of a request, ready to have subjects measured on it, with those; nothing of it is kept."""
    progress = JobTrackingProgress(job.progress, HiddenJobProgress())
    for task, dataset in zip(job.plan.tasks, job.datasets, strict=True):
        yield Bench(job, NoRecords(), task, dataset, progress, {}), [*task.subjects, *shortcut_plans(dataset)]


def planned_cells(bench: Bench, plan: SubjectPlan, only: Callable[[Cell], bool]) -> Iterator[PlannedCell]:
    """Those cells of one subject that ``only`` says yes to, with what would identify their records."""

    def asked(ladder: Ladder) -> bool:
        return any(only(bench.cell(plan, rung)) for rung in ladder.rungs)

    ladders = [part for ladder in bench.task.ladders if meets(plan, ladder) for part in _parts(ladder) if asked(part)]
    if ladders:
        yield from (planned for planned in _planned(bench, plan, ladders) if only(planned.cell))


def _parts(ladder: Ladder) -> list[Ladder]:
    """What is measured on one subject each."""
    return [replace(ladder, rungs=(rung,)) for rung in ladder.rungs] if _retrains(ladder) else [ladder]


def _planned(bench: Bench, plan: SubjectPlan, ladders: Sequence[Ladder]) -> Iterator[PlannedCell]:
    try:
        subject = subject_of(bench, plan)
    except MeasurementError as error:
        for ladder in ladders:
            yield from _unknown(bench, plan, ladder, str(error))
        return
    for ladder in ladders:
        try:
            steps = steps_of(bench, plan, subject, ladder)[1]
        except MeasurementError as error:
            yield from _unknown(bench, plan, ladder, str(error))
            continue
        for step in steps:
            for rung, identity in zip(step.rungs, step.identities, strict=True):
                yield PlannedCell(plan, ladder, bench.cell(plan, rung), identity)


def subject_of(bench: Bench, plan: SubjectPlan) -> Subject:
    """The subject, and the samples of the bench as it takes them.

    Raises:
        MeasurementError: it cannot be had.
    """
    with as_measurement_error(plan.name):
        subject = bench.surrogates.subject(plan)
    bench.samples = choose_samples(subject.dataset, bench.job.plan.samples)
    return subject


def steps_of(bench: Bench, plan: SubjectPlan, subject: Subject, ladder: Ladder) -> tuple[Subject, list[LadderStep]]:
    """How a ladder is measured, and on whom: a contamination of the training split has a subject of its own.

    Raises:
        MeasurementError: a surrogate, or the contaminated subject, cannot be had.
    """
    lacking = bench.surrogates.lacking(ladder)
    if lacking:
        raise MeasurementError(lacking)
    if _retrains(ladder):
        with as_measurement_error(ladder.rungs[0].name):
            stressor = cast("TrainingContamination", ladder.rungs[0])
            subject = bench.job.retrain(plan, bench.dataset, stressor, bench.progress)
    return subject, bench.steps(subject, ladder)


def _retrains(ladder: Ladder) -> bool:
    return isinstance(ladder.rungs[0], TrainingContamination)


def _unknown(bench: Bench, plan: SubjectPlan, ladder: Ladder, reason: str) -> Iterator[PlannedCell]:
    for rung in ladder.rungs:
        yield PlannedCell(plan, replace(ladder, rungs=(rung,)), bench.cell(plan, rung), None, reason)
