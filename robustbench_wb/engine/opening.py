"""Opening of a model: what is known of it once its clean cell is measured, and the shards that are left."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.engine.cost_forecast import ladder_seconds
from robustbench_wb.engine.division import cut, disjoint, divide, is_divisible, missing_spans
from robustbench_wb.engine.measure import tried_states
from robustbench_wb.engine.model_evaluation import ModelEvaluation, needs_models, tried
from robustbench_wb.engine.model_session import ModelSession
from robustbench_wb.engine.plan import Ladder
from robustbench_wb.engine.record_keeper import Span
from robustbench_wb.engine.shard import CellPart, Shard
from robustbench_wb.engine.task_context import TaskContext
from robustbench_wb.records.record import Measurement, Record


@dataclass(frozen=True, eq=False, kw_only=True)
class Opening:
    """A model whose clean cell is finished."""

    known: list[CellPart] = field(default_factory=list)
    """Cells of ladders that are stored, or cannot be measured; and the stored parts of others."""
    left: list[Shard] = field(default_factory=list)
    """Shards that are left to be measured."""


def open_model(evaluation: ModelEvaluation, clean: Shard) -> Opening:
    """Find out what is left of a model to be measured, and measure its clean cell if that was not done.

    Args:
        evaluation: the model.
        clean: its first shard.
    """
    opening, session, record = Opening(), evaluation.session, evaluation.clean.record
    for place, ladder in enumerate(evaluation.ladders[1:], 1):
        shard = replace(clean, ladder=place)
        keys = None if session is None or needs_models(ladder) else evaluation.context.keys(session.subject, (ladder,))
        if session is None or record is None or _is_stored(session, keys):
            cells = enumerate(evaluation.measure(ladder))
            opening.known.extend(CellPart(shard=shard, rung=rung, measurement=cell) for rung, cell in cells)
        # If some of the strengths are stored, they are reused by one shard.
        elif keys is not None and session.known.keys().isdisjoint(keys) and is_divisible(session, ladder):
            _divide(evaluation, session, keys=keys, states=tried(ladder, record.states), shard=shard, opening=opening)
        else:
            opening.left.append(replace(shard, seconds=_seconds(evaluation, ladder) * len(evaluation.context.samples)))
    return opening


def _is_stored(session: ModelSession, keys: Sequence[str] | None) -> bool:
    """Whether all cells of a ladder are stored; without its keys that is not known yet."""
    return keys is not None and not session.context.run.plan.layers and session.known.keys() >= set(keys)


def _divide(
    evaluation: ModelEvaluation,
    session: ModelSession,
    *,
    keys: Sequence[str],
    states: NDArray[np.int8],
    shard: Shard,
    opening: Opening,
) -> None:
    """Add the stored parts of a ladder to what is known, and cut what is missing into shards.

    Args:
        evaluation: the model.
        session: the model, ready to be measured.
        keys: keys of the cells of the ladder.
        states: states of the samples when the ladder begins, int8 (N,).
        shard: all samples of the ladder.
        opening: is added to.
    """
    context, ladder = evaluation.context, evaluation.ladders[shard.ladder]
    seconds, found = _seconds(evaluation, ladder), context.keeper.find_parts(keys)
    spans = disjoint([span for span, records in found.items() if _is_usable(context, span, records)])
    for first, stop in spans:
        part = replace(shard, first=first, stop=stop)
        opening.known.extend(_stored(evaluation, session, part=part, records=found[first, stop]))
        context.progress.plan_less(seconds * (stop - first))
    places = np.flatnonzero(np.isin(states[context.order], tried_states(ladder.rungs[0])))
    for span in missing_spans(spans, len(states)):
        for look, piece in cut(span, context.looks):
            for (first, stop), forecast in divide(piece, places, seconds):
                number = look if context.in_looks else 0
                opening.left.append(replace(shard, first=first, stop=stop, look=number, seconds=forecast))


def _is_usable(context: TaskContext, span: Span, records: Sequence[Record]) -> bool:
    """Whether a stored part holds the samples that this run has in its range, all before or all after each look.

    A run that stops cells measures the samples in another order than a run that does not.
    """
    ids = context.samples.ids[context.rows(span)]
    whole = len(cut(span, context.looks)) == 1 or {*span} <= {0, *context.looks}
    return whole and all(np.array_equal(record.ids, ids) for record in records)


def _stored(
    evaluation: ModelEvaluation, session: ModelSession, *, part: Shard, records: Sequence[Record]
) -> Iterator[CellPart]:
    ladder = evaluation.ladders[part.ladder]
    for rung, (stressor, record) in enumerate(zip(ladder.rungs, records, strict=True)):
        cell = Measurement(
            cell=evaluation.context.cell(evaluation.plan, stressor),
            identity=record.identity,
            subject=session.subject.card,
            record=record,
            reused=False,  # the whole cell is not stored yet
            samples=part.stop - part.first,
        )
        yield CellPart(shard=part, rung=rung, measurement=cell, stored=True)


def _seconds(evaluation: ModelEvaluation, ladder: Ladder) -> float:
    """Forecast seconds of a ladder on one sample."""
    return ladder_seconds(ladder, 1, evaluation.context.cost(evaluation.plan))
