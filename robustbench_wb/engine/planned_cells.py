"""The cells that a run would measure, without training or measuring anything."""

from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass

from robustbench_wb.engine.measure import LadderStep
from robustbench_wb.engine.model_session import ModelSession, open_session
from robustbench_wb.engine.plan import Ladder, SubjectPlan
from robustbench_wb.engine.prepared_run import PreparedRun
from robustbench_wb.engine.record_keeper import RecordKeeper
from robustbench_wb.engine.task_context import TaskContext, is_probe, task_contexts
from robustbench_wb.errors import MeasurementError
from robustbench_wb.records.record import Cell, Identity
from robustbench_wb.stressors.stressor import Stressor


@dataclass(frozen=True, eq=False, kw_only=True)
class PlannedCell:
    """One cell of a request."""

    plan: SubjectPlan
    ladder: Ladder
    """Ladder that is measured to get the cell."""
    rung: Stressor
    """Stressor of the cell, at its strength."""
    cell: Cell
    identity: Identity | None
    """Identity of the record; None if it is unknown, because a model is not trained or cannot be built."""
    reason: str = ""
    """Reason why the identity is unknown."""


def planned_cells(
    context: TaskContext, plan: SubjectPlan, only: Callable[[Cell], bool], *, probe: bool = False
) -> Iterator[PlannedCell]:
    """Yield the cells of one model for which ``only`` is true, with the identity of their records.

    Args:
        context: task of the model.
        plan: the model.
        only: chooses cells by their names.
        probe: also yield the probe of an attacked model, which has a record and no row.
    """
    ladders = [ladder for ladder in context.ladders(plan) if probe or not is_probe(ladder)]
    parts = [part for ladder in ladders for part in (ladder.split if ladder.contaminations else (ladder,))]
    wanted = [part for part in parts if any(only(context.cell(plan, rung)) for rung in part.rungs)]
    if not wanted:
        return
    try:
        session = open_session(context, plan)
    except MeasurementError as error:
        found = [cell for ladder in wanted for cell in _unknown(context, plan, ladder=ladder, reason=str(error))]
    else:
        found = [cell for ladder in wanted for cell in _planned(session, ladder)]
    yield from (planned for planned in found if only(planned.cell))


def is_measured(run: PreparedRun, keeper: RecordKeeper, *, note: Callable[[str], None]) -> bool:
    """Whether every cell of a run is stored, so that nothing has to be trained or measured.

    Looks at one model after the other, until something is missing; ``note`` is told their names before their code runs.
    """
    if run.plan.layers:
        return False
    looking = copy(run)
    looking.may_train = False
    for context in task_contexts(looking, keeper=keeper):
        for plan in context.subjects:
            note(plan.name)
            planned = list(planned_cells(context, plan, lambda cell: True, probe=True))
            keys = {one.identity.key for one in planned if one.identity is not None}
            if any(one.identity is None for one in planned) or keeper.find(sorted(keys)).keys() != keys:
                return False
    return True


def _planned(session: ModelSession, ladder: Ladder) -> Iterator[PlannedCell]:
    context, plan = session.context, session.plan
    try:
        steps = ladder_steps(session, ladder)[1]
    except MeasurementError as error:
        yield from _unknown(context, plan, ladder=ladder, reason=str(error))
        return
    for step in steps:
        for rung, identity in zip(step.rungs, step.identities, strict=True):
            cell = context.cell(plan, rung)
            yield PlannedCell(plan=plan, ladder=ladder, rung=rung, cell=cell, identity=identity)


def _unknown(context: TaskContext, plan: SubjectPlan, *, ladder: Ladder, reason: str) -> Iterator[PlannedCell]:
    for rung, alone in zip(ladder.rungs, ladder.split, strict=True):
        cell = context.cell(plan, rung)
        yield PlannedCell(plan=plan, ladder=alone, rung=rung, cell=cell, identity=None, reason=reason)


def ladder_steps(session: ModelSession, ladder: Ladder) -> tuple[ModelSession, list[LadderStep]]:
    """The steps of a ladder, and the session of the model on which they are measured.

    A contamination of the training split is measured on a model of its own.

    Raises:
        MeasurementError: the surrogate, or the contaminated model, cannot be built or trained.
    """
    lacking = session.context.surrogates.lacking(ladder)
    if lacking:
        raise MeasurementError(lacking)
    for stressor in ladder.contaminations[:1]:
        session = session.retrained(stressor)
    return session, session.context.steps(session.subject, ladder)
