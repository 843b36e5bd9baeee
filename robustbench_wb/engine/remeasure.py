"""Measuring some samples of stored cells again, by the door that measured them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.engine.batch import batch_for
from robustbench_wb.engine.bench import Bench, LadderStep
from robustbench_wb.engine.measure import BatchObserver, TaskSamples, measure
from robustbench_wb.engine.plan import SubjectPlan
from robustbench_wb.engine.planned_cells import PlannedCell, benches, planned_cells, steps_of, subject_of
from robustbench_wb.engine.prepared_run import PreparedRun
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.engine.subject import Subject
from robustbench_wb.errors import HarnessError, MeasurementError, as_measurement_error
from robustbench_wb.progress import Progress
from robustbench_wb.records.names import Slot
from robustbench_wb.records.perturbed_sample import SampleSelection
from robustbench_wb.records.record import Identity, Record, differing_fields
from robustbench_wb.stressors.stressor import PerturbedBatch, SampleBatch

SampleObserver = Callable[[Slot, SampleBatch, PerturbedBatch], None]
"""Shown what a stressor makes of some samples of a cell."""

NO_REQUEST = "no request of a version that is kept names this cell"


@dataclass(eq=False)
class Remeasured:
    """What came of them, by the slot of their cell."""

    made: dict[Slot, Record] = field(default_factory=dict)
    """Of the wanted samples alone."""
    refused: dict[Slot, str] = field(default_factory=dict)
    """Why a cell could not be measured again."""


def remeasure(
    requests: Iterable[RunRequest],
    wanted: Sequence[SampleSelection],
    progress: Progress,
    watch: SampleObserver | None = None,
) -> Remeasured:
    """Measure the wanted samples of each cell by the first of the requests that has just that cell in it.

    Subjects come from the cache, or are trained as they were. What differs then is named, and not measured. Lower
    strengths are measured before, as the cell's identity says. ``watch`` is shown what the stressor makes of the
    samples: what broke one at a lower strength stands at this one, and is shown as it was made there.
    """
    found, open_ = Remeasured(), {one.slot: one for one in wanted}
    for request in requests:
        if not open_:
            break
        try:
            job = PreparedRun(request, progress)
        except HarnessError as error:
            found.refused |= {slot: str(error) for slot in open_ if slot not in found.refused}
            continue
        for bench, plans in benches(job):
            for plan in plans:
                if any(_may_be(bench, plan, slot) for slot in open_):
                    _subject_again(bench, plan, open_, found, watch)
    found.refused = {slot: found.refused.get(slot, NO_REQUEST) for slot in open_}
    return found


def _may_be(bench: Bench, plan: SubjectPlan, slot: Slot) -> bool:
    return slot == (*bench.cell(plan, bench.task.ladders[0].rungs[0]).slot[:6], *slot[6:])


def _subject_again(
    bench: Bench, plan: SubjectPlan, open_: dict[Slot, SampleSelection], found: Remeasured, watch: SampleObserver | None
) -> None:
    for planned in list(planned_cells(bench, plan, lambda cell: cell.slot in open_)):
        one = open_[planned.cell.slot]
        if planned.identity is None:
            found.refused[one.slot] = planned.reason
        elif planned.identity != one.record.identity:
            unlike = differing_fields(one.record.identity, planned.identity)
            found.refused[one.slot] = "; ".join(f"{name}: {old} is now {new}" for name, old, new in unlike)
        else:
            try:
                with as_measurement_error(planned.cell.stressor):
                    found.made[one.slot] = _cell_again(bench, plan, planned, one.ids, watch)
                del open_[one.slot]
            except MeasurementError as error:
                found.refused[one.slot] = str(error)


def _cell_again(
    bench: Bench, plan: SubjectPlan, planned: PlannedCell, ids: NDArray[np.int32], watch: SampleObserver | None
) -> Record:
    """The record of some samples of a cell; the clean cell and lower strengths are measured first."""
    subject = subject_of(bench, plan)
    samples = bench.samples.rows(np.searchsorted(bench.samples.ids, ids))
    (clean,) = bench.steps(subject, bench.task.ladders[0])
    before: NDArray[np.int8] | None = None
    for record in _measured(bench, subject, [clean], samples, before):
        if record.identity == planned.identity:
            return record
        before = record.states
    tested, steps = steps_of(bench, plan, subject, planned.ladder)

    def look(job: SampleBatch, stressed: PerturbedBatch) -> float:
        if watch is not None:
            watch(planned.cell.slot, job, stressed)
        return 0.0

    shown = None if watch is None or planned.identity is None else (planned.identity, look)
    for record in _measured(bench, tested, steps, samples, before, shown):
        if record.identity == planned.identity:
            return record
    raise MeasurementError("its ladder does not lead to it")


def _measured(
    bench: Bench,
    subject: Subject,
    steps: Sequence[LadderStep],
    samples: TaskSamples,
    before: NDArray[np.int8] | None,
    shown: tuple[Identity, BatchObserver] | None = None,
) -> Iterator[Record]:
    job = bench.job
    for step in steps:
        surrogate = bench.surrogates.model(step.rungs[0])
        batch = batch_for(job.request.batch, subject.model, samples.inputs, job.device)
        with job.progress.stage(f"again {step.rungs[0].signature}", len(samples), "samples") as advance:
            cells = (step.rungs, step.identities, samples, before, job.device, batch, advance)
            looks = _looks(step, *shown) if shown is not None else ()
            records = measure(subject.model, *cells, looks, surrogate)
        yield from records
        if step.rungs[0].adversarial():
            before = records[-1].states


def _looks(step: LadderStep, wanted: Identity, look: BatchObserver) -> Sequence[BatchObserver]:
    """One per rung; what is made at strengths above the wanted one is not looked at."""
    last = step.identities.index(wanted) if wanted in step.identities else len(step.rungs)
    return [look if at <= last else _blind for at in range(len(step.rungs))]


def _blind(job: SampleBatch, stressed: PerturbedBatch) -> float:
    return 0.0


def unlike(stored: Record, again: Record, tolerance: float) -> Mapping[str, tuple[int, ...]]:
    """Ids whose state differs, and, of the others, those whose loss does: by more than ``tolerance``, of its size or
    absolutely. Losses that the stored record has not are not compared."""
    rows = np.searchsorted(stored.ids, again.ids)
    states = stored.states[rows] != again.states
    old, new = stored.losses[rows].astype(np.float64), again.losses.astype(np.float64)
    losses = ~states & ~np.isnan(old) & ~np.isclose(old, new, rtol=tolerance, atol=tolerance)
    return {name: tuple(again.ids[mask].tolist()) for name, mask in (("states", states), ("losses", losses))}
