"""Execution of shards in this process."""

from collections.abc import Callable, Generator, Iterator, Sequence

from robustbench_wb.engine.model_evaluation import ModelEvaluation, begin_evaluation
from robustbench_wb.engine.opening import open_model
from robustbench_wb.engine.schedule import Schedule
from robustbench_wb.engine.shard import CellPart, Shard
from robustbench_wb.engine.task_context import TaskContext


class InlineExecutor:
    """Measures shards one after the other, and holds one model at a time.

    Args:
        contexts: the tasks of the run.
        note: told the name of each model before its code runs.
    """

    def __init__(self, contexts: Sequence[TaskContext], *, note: Callable[[str], None] | None = None) -> None:
        self._contexts, self._note = contexts, note
        self._current: tuple[tuple[int, int], ModelEvaluation] | None = None

    description = "this process"

    def execute(self, schedule: Schedule) -> Generator[CellPart, None, None]:
        """Yield each result as soon as it is there, model after model."""
        shard: Shard | None = None
        while (shard := schedule.take(shard)) is not None:
            left: list[Shard] = []
            yield from self.measure(shard, left)
            schedule.finish(shard, left)

    def measure(self, shard: Shard, left: list[Shard]) -> Iterator[CellPart]:
        """Yield the results of a shard. If it opens a model, add the shards of the model that are left to ``left``."""
        evaluation = self.evaluation(shard)
        cells = evaluation.measure(evaluation.ladders[shard.ladder], (shard.first, shard.stop))
        for rung, cell in enumerate(cells):
            yield CellPart(shard=shard, rung=rung, measurement=cell)
        if shard.opens:
            opening = open_model(evaluation, shard)
            left += opening.left
            yield from opening.known

    def evaluation(self, shard: Shard) -> ModelEvaluation:
        """The evaluation of a shard's model, begun now unless the model of the last shard is the same."""
        if self._current is None or self._current[0] != shard.model:
            self._current = None  # frees the last model first
            context = self._contexts[shard.task]
            plan = context.subjects[shard.subject]
            if self._note is not None:
                self._note(plan.name)
            self._current = (shard.model, begin_evaluation(context, plan))
        return self._current[1]
