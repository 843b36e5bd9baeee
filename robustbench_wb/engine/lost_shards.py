"""Shards that were lost with their worker: they are measured again, and after several losses their cells are errors."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from robustbench_wb.engine.model_evaluation import ModelEvaluation
from robustbench_wb.engine.shard import CellPart, Shard
from robustbench_wb.engine.task_context import TaskContext


class LostShards:
    """Counts how often each shard was lost.

    Args:
        contexts: the tasks of the run.
        attempts: how often a shard is measured at most.
    """

    def __init__(self, contexts: Sequence[TaskContext], *, attempts: int) -> None:
        self._contexts, self._attempts = contexts, attempts
        self._losses: Counter[Shard] = Counter()

    def errors(self, shard: Shard, problem: str) -> list[CellPart] | None:
        """Cells with the reason as their error; None if the shard is to be measured again.

        Without its clean cell, nothing of a model can be measured.
        """
        self._losses[shard] += 1
        if self._losses[shard] < self._attempts:
            return None
        return list(self._failed(shard, problem))

    def _failed(self, shard: Shard, problem: str) -> Iterator[CellPart]:
        context = self._contexts[shard.task]
        plan = context.subjects[shard.subject]
        evaluation = ModelEvaluation(context=context, plan=plan, session=None, error=problem)
        places = range(len(evaluation.ladders)) if shard.opens else (shard.ladder,)
        for place in places:
            for rung, cell in enumerate(evaluation.measure(evaluation.ladders[place])):
                some = replace(cell, samples=shard.stop - shard.first)
                yield CellPart(shard=replace(shard, ladder=place), rung=rung, measurement=some)
