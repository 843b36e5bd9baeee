"""Execution of shards in this process."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from robustbench_wb.engine.model_evaluation import ModelEvaluation, begin_evaluation
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

    def execute(self, shards: Iterable[Shard]) -> Iterator[CellPart]:
        """Yield each cell as soon as it is measured. Shards hold all samples of their cells."""
        for shard in shards:
            evaluation = self.evaluation(shard)
            for rung, cell in enumerate(evaluation.measure(evaluation.ladders[shard.ladder])):
                yield CellPart(shard=shard, rung=rung, measurement=cell)

    def evaluation(self, shard: Shard) -> ModelEvaluation:
        """The evaluation of a shard's model, begun now unless the model of the last shard is the same."""
        place = (shard.task, shard.subject)
        if self._current is None or self._current[0] != place:
            self._current = None  # frees the last model first
            context = self._contexts[shard.task]
            plan = context.subjects[shard.subject]
            if self._note is not None:
                self._note(plan.name)
            self._current = (place, begin_evaluation(context, plan))
        return self._current[1]

    def is_shareable(self, shard: Shard) -> bool:
        """Whether another process may measure a shard, see ``ModelEvaluation.is_shareable``."""
        evaluation = self.evaluation(shard)
        return evaluation.is_shareable(evaluation.ladders[shard.ladder])
