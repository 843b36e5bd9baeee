"""The order in which the shards of a run are measured, and which of them can be measured now."""

import time
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence

from robustbench_wb.engine.cost_forecast import ladder_seconds
from robustbench_wb.engine.run_log import RunLog, shard_facts
from robustbench_wb.engine.shard import Place, Shard
from robustbench_wb.engine.task_context import TaskContext

Model = tuple[int, int]
"""Indices of task and model."""


class Schedule:
    """Hands out shards. The clean cell of a model comes first; what else it needs is known when that is finished.

    The shards of one look of a model are measured before those of the next, which a stopped ladder does not need.

    A worker keeps its model as long as it has shards. Then it begins another model, in the order of the plan, and if
    all are begun, it helps with the one that has the most work left, longest shard first.

    Args:
        contexts: the tasks of the run.
        log: told of each shard that is finished or lost; None: nobody is told.
    """

    def __init__(self, contexts: Sequence[TaskContext], log: RunLog | None = None) -> None:
        self._contexts, self._log = contexts, log
        self._unopened = [
            Shard(task=number, subject=subject, ladder=0, first=0, stop=len(context.samples))
            for number, context in enumerate(contexts)
            for subject in range(len(context.subjects))
        ]
        self._ready: dict[Model, list[Shard]] = defaultdict(list)
        self._running: dict[Shard, float] = {}
        self._losses: Counter[Shard] = Counter()
        self._open: defaultdict[Place, int] = defaultdict(int)
        self._dropped: set[Place] = set()

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left, and nothing is being measured."""
        return not self._unopened and not self._running and not any(self._ready.values())

    def take(self, last: Shard | None = None) -> Shard | None:
        """A shard to be measured now; None if there is none at the moment.

        Args:
            last: the shard that its worker measured before, whose model it still has.
        """
        if last is not None and (own := self._in_turn(last.model)):
            return self._taken(own[0])
        if self._unopened:
            return self._taken(self._unopened[0])
        models = [model for model in self._ready if self._in_turn(model)]
        if not models:
            return None
        most = max(models, key=lambda model: _work(self._ready[model]))
        return self._taken(max(self._in_turn(most), key=lambda shard: shard.seconds))

    def _in_turn(self, model: Model) -> list[Shard]:
        """Shards of a model that can be measured now: those of its first look that is not finished."""
        ready = self._ready[model]
        first = min((shard.look for shard in ready), default=0)
        if first and any(shard.look < first for shard in self._running if shard.model == model):
            return []
        return [shard for shard in ready if shard.look == first]

    def drop(self, place: Place) -> None:
        """Hand out no more shards of a ladder, which is stopped."""
        self._dropped.add(place)
        self._spare(place[:2])

    def _spare(self, model: Model) -> None:
        """Forget the shards of a model whose ladders are stopped."""
        for shard in [one for one in self._ready[model] if one.place in self._dropped]:
            self._ready[model].remove(shard)
            self._open[shard.place] -= 1
            context = self._contexts[shard.task]
            cost = context.cost(context.subjects[shard.subject])
            ladder = context.ladder(shard.subject, shard.ladder)
            context.progress.plan_less(ladder_seconds(ladder, shard.stop - shard.first, cost))

    def note_loss(self, shard: Shard, *, worker: int, reason: str) -> int:
        """Note that a worker was lost while it measured a shard; return how often the shard was lost by now."""
        self._losses[shard] += 1
        self._write("lost", shard, {"worker": worker, "attempt": self._losses[shard], "reason": reason})
        return self._losses[shard]

    def put_back(self, shard: Shard) -> None:
        """Take back a shard that was lost: it is handed out again."""
        self._running.pop(shard, None)
        if shard.opens:
            self._unopened.insert(0, shard)
        else:
            self._ready[shard.model].insert(0, shard)

    def finish(self, shard: Shard, more: Collection[Shard] = (), *, worker: int = 0) -> int:
        """Note that the results of a shard were taken.

        Args:
            shard: what was measured.
            more: shards of the same model that are left, known when its clean cell is finished.
            worker: number of the worker that measured it.

        Returns:
            Number of ladders that are finished by it.
        """
        done = {
            "worker": worker,
            "attempt": self._losses[shard] + 1,
            "seconds": time.monotonic() - self._running.pop(shard),
            "forecast": shard.seconds,
        }
        self._write("shard", shard, done)
        for one in more:
            self._ready[one.model].append(one)
            self._open[one.place] += 1
        self._spare(shard.model)
        if shard.opens:
            context = self._contexts[shard.task]
            left = {one.place for one in self._ready[shard.model]}
            return len(context.ladders(context.subjects[shard.subject])) - len(left)
        self._open[shard.place] -= 1
        return int(not self._open[shard.place])

    def _write(self, event: str, shard: Shard, facts: Mapping[str, object]) -> None:
        if self._log is not None:
            self._log.write(event, {**shard_facts(self._contexts, shard), **facts})

    def _taken(self, shard: Shard) -> Shard:
        (self._unopened if shard.opens else self._ready[shard.model]).remove(shard)
        self._running[shard] = time.monotonic()
        return shard


def _work(shards: Sequence[Shard]) -> tuple[float, int]:
    return sum(shard.seconds for shard in shards), len(shards)
