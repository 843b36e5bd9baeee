"""Shards that were lost with their workers for good: their cells are errors."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from robustbench_wb.engine.model_evaluation import ModelEvaluation
from robustbench_wb.engine.shard import CellPart, Shard
from robustbench_wb.engine.task_context import TaskContext


def lost_cells(contexts: Sequence[TaskContext], shard: Shard, problem: str) -> Iterator[CellPart]:
    """Cells of a lost shard with the reason as their error.

    Without its clean cell, nothing of a model can be measured.

    Args:
        contexts: the tasks of the run.
        shard: what was lost.
        problem: reason, one line.
    """
    context = contexts[shard.task]
    plan = context.subjects[shard.subject]
    evaluation = ModelEvaluation(context=context, plan=plan, session=None, error=problem)
    places = range(len(evaluation.ladders)) if shard.opens else (shard.ladder,)
    for place in places:
        for rung, cell in enumerate(evaluation.measure(evaluation.ladders[place])):
            some = replace(cell, samples=shard.stop - shard.first)
            yield CellPart(shard=replace(shard, ladder=place), rung=rung, measurement=some)
