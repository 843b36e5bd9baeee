"""Measuring some samples of stored cells again, with the same code path as the run that measured them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.engine.measure import BatchObserver, LadderStep, measure
from robustbench_wb.engine.model_session import ModelSession, open_session
from robustbench_wb.engine.plan import SubjectPlan
from robustbench_wb.engine.planned_cells import PlannedCell, ladder_steps, planned_cells
from robustbench_wb.engine.prepared_run import PreparedRun
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.engine.task_context import TaskContext, task_contexts
from robustbench_wb.engine.task_samples import TaskSamples
from robustbench_wb.errors import HarnessError, MeasurementError, as_measurement_error
from robustbench_wb.progress import Progress
from robustbench_wb.records.names import Slot, suite_family
from robustbench_wb.records.perturbed_sample import SampleSelection
from robustbench_wb.records.record import Identity, Record, differing_fields
from robustbench_wb.spec import digest
from robustbench_wb.stressors.model_access import ModelAccess
from robustbench_wb.stressors.sample_batch import PerturbedBatch, SampleBatch
from robustbench_wb.user_code import UserCode

SlotObserver = Callable[[Slot], BatchObserver]
"""Called with the slot of a cell; returns the observer of the batches that the cell perturbs."""

NO_REQUEST = "no request of a version that is kept names this cell"


@dataclass(eq=False)
class Remeasured:
    """Results of measuring samples again, by the slot of their cell."""

    made: dict[Slot, Record] = field(default_factory=dict)
    """Records that hold the wanted samples alone."""
    refused: dict[Slot, str] = field(default_factory=dict)
    """Reasons why cells could not be measured again."""

    def explain(self, reasons: Mapping[str, str]) -> None:
        """Give the reason of cells that no request names, by their model."""
        self.refused |= {
            slot: reasons[slot.variant]
            for slot, reason in self.refused.items()
            if reason == NO_REQUEST and slot.variant in reasons
        }


def remeasure(
    requests: Iterable[RunRequest],
    wanted: Sequence[SampleSelection],
    progress: Progress,
    watch: SlotObserver | None = None,
) -> Remeasured:
    """Measure the wanted samples of each cell by the first of the requests that holds a cell of the same identity.

    Models come from the cache, or are trained as they were. A cell whose identity differs is refused, with the fields
    that differ. Lower strengths are measured first, as the identity says. ``watch`` sees what the stressor makes of the
    samples: a sample that a lower strength broke is seen as it was made there.
    """
    found, open_ = Remeasured(), {one.slot: one for one in wanted}
    for request in requests:
        if not open_:
            break
        try:
            run = PreparedRun(request, progress)
        except HarnessError as error:
            found.refused |= {slot: str(error) for slot in open_ if slot not in found.refused}
            continue
        for context in task_contexts(run):
            for plan in context.subjects:
                if any(_may_be(context, plan, slot) for slot in open_):
                    with UserCode(plan.name).running():
                        _remeasure_model(context, plan, open_=open_, found=found, watch=watch)
    found.refused = {slot: found.refused.get(slot, NO_REQUEST) for slot in open_}
    return found


def _may_be(context: TaskContext, plan: SubjectPlan, slot: Slot) -> bool:
    own = context.cell(plan, context.task.ladders[0].rungs[0]).slot
    return any(slot == (*name[:6], *slot[6:]) for name in (own, _early(own)))


def _early(slot: Slot) -> Slot:
    """Slot as tables of earlier releases name it, where a changed suite has no digest."""
    return slot._replace(suite=suite_family(slot.suite))


def _remeasure_model(
    context: TaskContext,
    plan: SubjectPlan,
    *,
    open_: dict[Slot, SampleSelection],
    found: Remeasured,
    watch: SlotObserver | None,
) -> None:
    """Measure the open cells of one model again, and close those that succeed."""
    for planned in list(planned_cells(context, plan, lambda cell: cell.slot in open_ or _early(cell.slot) in open_)):
        one = open_.get(planned.cell.slot) or open_[_early(planned.cell.slot)]
        if planned.identity is None:
            found.refused[one.slot] = planned.reason
        elif (expected := _identity_of(context, planned.identity, one.record)) != one.record.identity:
            unlike = differing_fields(one.record.identity, expected)
            found.refused[one.slot] = "; ".join(f"{name}: {old} is now {new}" for name, old, new in unlike)
        else:
            try:
                with as_measurement_error(planned.cell.stressor):
                    again = _remeasure_cell(context, planned, ids=one.ids, watch=watch)
                    found.made[one.slot] = replace(again, identity=expected)
                del open_[one.slot]
            except MeasurementError as error:
                found.refused[one.slot] = str(error)


def _identity_of(context: TaskContext, planned: Identity, record: Record) -> Identity:
    """Identity of a planned cell on the samples of a record, which may have been stopped after some of them."""
    ids = context.samples.ids
    if len(record.ids) >= len(ids) or not np.isin(record.ids, ids).all():
        return planned
    return planned.model_copy(update={"samples": digest(record.ids.tolist())})


def _remeasure_cell(
    context: TaskContext, planned: PlannedCell, *, ids: NDArray[np.int32], watch: SlotObserver | None
) -> Record:
    """The record of some samples of a cell; the clean cell and lower strengths are measured first."""
    session = open_session(context, planned.plan)
    samples = session.samples.select(np.searchsorted(session.samples.ids, ids))

    (clean,) = _measured(session, context.steps(session.subject, context.task.ladders[0]), samples=samples)
    if clean.identity == planned.identity:
        return clean
    tested, steps = ladder_steps(session, planned.ladder)
    observers = [() if watch is None else _observers(step, planned, watch(planned.cell.slot)) for step in steps]
    for record in _measured(tested, steps, samples=samples, before=clean.states, observers=observers):
        if record.identity == planned.identity:
            return record
    raise MeasurementError("its ladder does not lead to it")


def _measured(
    session: ModelSession,
    steps: Sequence[LadderStep],
    *,
    samples: TaskSamples,
    before: NDArray[np.int8] | None = None,
    observers: Sequence[Sequence[BatchObserver]] = (),
) -> Iterator[Record]:
    """Measure steps one after the other on some samples. ``observers`` are those of each step, or none."""
    for number, step in enumerate(steps):
        stressor = step.rungs[0]
        access = session.access(stressor)
        with session.context.run.progress.stage(f"again {stressor.signature}", len(samples), "samples") as advance:
            watching = observers[number] if observers else ()
            records = measure(step, access, samples, before=before, advance=advance, observers=watching)
        yield from records
        if stressor.adversarial():
            before = records[-1].states


def _observers(step: LadderStep, planned: PlannedCell, observe: BatchObserver) -> Sequence[BatchObserver]:
    """One observer per rung; strengths above the planned cell's are not observed."""
    known = planned.identity in step.identities
    last = step.identities.index(planned.identity) if known and planned.identity else len(step.rungs)
    return [observe if at <= last else _ignore for at in range(len(step.rungs))]


def _ignore(batch: SampleBatch, perturbed: PerturbedBatch, access: ModelAccess) -> float:
    return 0.0


def unlike(stored: Record, again: Record, tolerance: float) -> Mapping[str, tuple[int, ...]]:
    """Ids of the samples that differ: ``states``, and ``losses`` of samples in the same state.

    A loss differs if it does by more than ``tolerance``, relative or absolute; ``losses`` includes samples whose
    outputs (probabilities, largest logits, measures of texts) differ by more. Both are compared only where the stored
    record has them.
    """
    rows = np.searchsorted(stored.ids, again.ids)
    states = stored.states[rows] != again.states
    losses = np.zeros(len(rows), np.bool_)
    for name in ("losses", "calibration", "max_logits", "text_measures"):
        old, new = getattr(stored, name), getattr(again, name)
        if old is not None and new is not None:
            before, now = old[rows].astype(np.float64), new.astype(np.float64)
            far = ~np.isnan(before) & ~np.isclose(before, now, rtol=tolerance, atol=tolerance)
            losses |= ~states & far.reshape(len(rows), -1).any(1)
    return {name: tuple(again.ids[mask].tolist()) for name, mask in (("states", states), ("losses", losses))}
