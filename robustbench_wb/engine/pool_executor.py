"""Execution of shards by a pool of workers. The end of one of them is at worst an error of one shard."""

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from typing import ClassVar, Final

import torch

from robustbench_wb.engine.cost_forecast import BACKWARD, SampleCost, ladder_seconds
from robustbench_wb.engine.device_errors import free_cached_memory
from robustbench_wb.engine.lost_shards import lost_cells
from robustbench_wb.engine.plan import Ladder
from robustbench_wb.engine.pool_worker import Only, PoolWorker
from robustbench_wb.engine.prepared_run import PreparedRun
from robustbench_wb.engine.record_keeper import RecordKeeper
from robustbench_wb.engine.schedule import Schedule
from robustbench_wb.engine.shard import CellPart, Shard
from robustbench_wb.engine.shard_worker import ShardResult, Sign, StoreFailure, WorkerSetup
from robustbench_wb.engine.stop_notice import InFlight, ShardPace, stop_notice
from robustbench_wb.engine.task_context import TaskContext, is_probe
from robustbench_wb.errors import StoreError
from robustbench_wb.interrupts import StopRequest, deferring_interrupts
from robustbench_wb.progress import Advance, JobProgress
from robustbench_wb.records.record import Measurement

_log = logging.getLogger(__name__)
TERM_SECONDS: Final = 8.0
"""Time in which shards may be finished after SIGTERM and SIGHUP: schedulers of clusters kill what lives much longer."""
SHOWN_WORKERS: Final = 8
"""Number of workers whose shards a terminal shows, a line each."""
WAIT_SECONDS: Final = 1.0
"""Longest time between two looks at the limits of all workers."""


class PoolExecutor(ABC):
    """Measures shards by several workers at once. Which worker measures a shard cannot change it.

    A shard whose worker dies is measured again by another one; if that dies as well, its cells are errors.

    Args:
        run: the prepared request.
        contexts: its tasks.
        keeper: where records and parts are found.
        costs: forecast cost of each model by name, for each task.
        whole: told how much work is done, in forecast seconds.
        workers: number of workers.
        isolated: whether each model gets workers of its own, and a shard is not tried twice.
    """

    waits_for_room: ClassVar[bool] = False
    """Whether a worker may have to wait until another one ends: an idle one is ended then."""

    def __init__(
        self,
        run: PreparedRun,
        contexts: Sequence[TaskContext],
        *,
        keeper: RecordKeeper,
        costs: Sequence[dict[str, SampleCost]],
        whole: JobProgress,
        workers: int,
        isolated: bool = False,
    ) -> None:
        self._run, self._contexts, self._whole = run, contexts, whole
        self._keeper, self._costs = keeper, costs
        self._count, self._isolated = workers, isolated
        self._attempts = 1 if isolated else 2
        self._workers: list[PoolWorker] = []
        self._pace = ShardPace()

    @abstractmethod
    def new_worker(self, setup: WorkerSetup, *, names: Callable[[Shard], str], only: Only | None) -> PoolWorker:
        """Start a worker, see ``PoolWorker``."""

    @abstractmethod
    def wait_for_news(self, workers: Sequence[PoolWorker], seconds: float) -> Collection[PoolWorker]:
        """Workers that have sent something or are dead; waits for the first one, for some seconds at most."""

    @staticmethod
    def threads(count: int) -> int:
        """CPU threads of each of so many workers: they share those of this process."""
        return max(1, torch.get_num_threads() // count)

    @staticmethod
    def sharers(count: int) -> int:
        """Workers that share the memory of the devices of this machine."""
        return count

    @staticmethod
    def workers_text(count: int) -> str:
        """Number of workers in words, like ``2 processes``."""
        return f"{count} worker{'s' if count > 1 else ''}"

    @property
    def description(self) -> str:
        """Number of workers in words, like ``2 processes``."""
        return self.workers_text(self._count)

    def execute(self, schedule: Schedule) -> Generator[CellPart, None, None]:
        """Yield the results of shards as they come."""
        free_cached_memory(self._run.device)  # of this process, which the workers can use
        total = sum(len(context.ladders(plan)) for context in self._contexts for plan in context.subjects)
        stage = self._run.progress.stage(f"cells by {self.description}", total, "ladders")
        with stage as advance, deferring_interrupts(self._say_stop) as stop:
            try:
                while not schedule.is_finished:
                    if stop.since is None:
                        self._give(schedule)
                    elif self._has_stopped(stop):
                        stop.raise_interrupt()
                    for worker in self._with_news():
                        yield from self._heard(worker, schedule, advance)
                if stop.since is not None:
                    stop.raise_interrupt()
            finally:
                # Unfinished shards are in no table; the next run measures them.
                for worker in list(self._workers):
                    self._end(worker)

    def _heard(self, worker: PoolWorker, schedule: Schedule, advance: Advance) -> Iterator[CellPart]:
        """Yield what a worker has sent, if it is a result, and take it out of the pool if it has ended."""
        for shard, result in self._results(worker, schedule):
            self._pace.add(shard.seconds, result.seconds)
            yield from result.parts
            advance(schedule.finish(shard, result.left, worker=worker.number))
            if self._isolated:
                self._count_isolated(shard, result)
        if worker.has_ended:
            self._end(worker)
            if worker.shard is not None:
                schedule.put_back(worker.shard)

    def _count_isolated(self, shard: Shard, result: ShardResult) -> None:
        """Count the work of a ladder, of which isolated workers tell nothing: timing a model might end its process."""
        own = [part.measurement for part in result.parts if part.shard.place == shard.place]
        if not result.seconds:  # it was lost with its worker, and its cells are out of the forecast already
            return
        if shard.opens:
            self._count_opening(shard, result, own[0])
        elif all(cell.reused for cell in own):
            self._whole.add_skipped(self._seconds(shard))
        elif work := self._seconds(shard):  # the time of a probe says nothing about the planned work
            self._whole.add_done(work, result.seconds / self._count)

    def _count_opening(self, shard: Shard, result: ShardResult, clean: Measurement) -> None:
        """Count a training, a clean cell, which times a model from outside, and the ladders that are known with it."""
        context = self._contexts[shard.task]
        plan, record, card = context.subjects[shard.subject], clean.record, clean.subject
        training = context.training_seconds(plan)
        if record is not None and context.cost(plan).untimed:
            forward = record.seconds / len(context.samples)
            context.add_cost(plan, SampleCost(forward, (1 + BACKWARD) * forward))
        done, took = (training, card.train_seconds) if card.trained and training else (0.0, 0.0)
        if record is not None and not clean.reused:
            done, took = done + self._seconds(shard), took + record.seconds
        if done:
            self._whole.add_done(done, took / self._count)
        left = {one.place for one in result.left}
        known = {part.shard for part in result.parts if part.shard.place not in left}
        self._whole.add_skipped(training + sum(map(self._seconds, known)) - done)

    def _has_stopped(self, stop: StopRequest) -> bool:
        """Whether nothing is measured any more, or the time after an urgent signal is over.

        A training is not waited for: it may take hours, and the next run continues it from its last snapshot.
        """
        late = stop.is_urgent and time.monotonic() > (stop.since or 0.0) + TERM_SECONDS
        return late or all(worker.shard is None or worker.is_preparing for worker in self._workers)

    def _give(self, schedule: Schedule) -> None:
        """Give shards to workers that have none, and start workers that are missing."""
        for worker in [worker for worker in self._workers if worker.shard is None]:
            if (shard := schedule.take(worker.last)) is None:
                if self.waits_for_room and any(
                    other.shard is not None and not other.was_heard for other in self._workers
                ):
                    self._end(worker)
                continue
            if not worker.measures(shard):
                self._end(worker)
                worker = self._start(shard)
            self._hand(worker, shard)
        while len(self._workers) < self._count and (shard := schedule.take()) is not None:
            self._hand(self._start(shard), shard)

    def _hand(self, worker: PoolWorker, shard: Shard) -> None:
        """Let a worker measure a shard, and show it."""
        ladder = self._ladder(shard)
        worker.give(shard, len(ladder.rungs))
        if worker.number < SHOWN_WORKERS:
            what = f"  {worker.number}: {self._name(shard)}, {ladder.rungs[0].label}"
            worker.shown.enter_context(self._run.progress.stage(what, shard.stop - shard.first, "samples"))

    def _end(self, worker: PoolWorker) -> None:
        """Take a worker out of the pool."""
        self._workers.remove(worker)
        worker.shown.close()
        worker.end()

    def _seconds(self, shard: Shard) -> float:
        """Forecast of a whole ladder, which counts no probe."""
        context, ladder = self._contexts[shard.task], self._ladder(shard)
        cost = context.cost(context.subjects[shard.subject])
        return 0.0 if is_probe(ladder) else ladder_seconds(ladder, len(context.samples), cost)

    def _start(self, shard: Shard) -> PoolWorker:
        context = self._contexts[shard.task]
        request, only = self._run.request.model_copy(update={"isolate": False}), None
        if self._isolated:  # nothing but the model of the shard, and the baselines of its task, is known there
            own = context.task.subjects
            plan, update = context.subjects[shard.subject], {"tasks": (context.task.task.name,)}
            if plan.is_shortcut:  # it needs no model beside it; one of this package runs no code of users
                request = request.model_copy(update={**update, "variants": ("vit",), "checkpoint": None})
            else:
                request = request.model_copy(update={**update, "variants": (plan.name,)})
            only = Only(task=shard.task, base=min(shard.subject, len(own) - 1), subject=shard.subject)
        setup = WorkerSetup(
            request=request,
            keeper=self._keeper,
            # Without costs nobody times the model, which might end the process, and nothing is divided.
            costs=() if self._isolated else self._costs,
            threads=self.threads(self._count),
            number=min(set(range(self._count)) - {worker.number for worker in self._workers}),
            sharers=self.sharers(self._count),
            in_looks=context.in_looks,
        )
        self._workers.append(self.new_worker(setup, names=self._name, only=only))
        return self._workers[-1]

    def _ladder(self, shard: Shard) -> Ladder:
        return self._contexts[shard.task].ladder(shard.subject, shard.ladder)

    def _name(self, shard: Shard) -> str:
        return self._contexts[shard.task].subjects[shard.subject].name

    def _with_news(self) -> list[PoolWorker]:
        """Workers that have sent something, are dead, or are over their time; waits for one, but not for long."""
        ready = self.wait_for_news(self._workers, WAIT_SECONDS)
        return [worker for worker in self._workers if worker in ready or worker.is_late]

    def _results(self, worker: PoolWorker, schedule: Schedule) -> Iterator[tuple[Shard, ShardResult]]:
        """Results of the shard of a worker, or errors if it was lost with its worker for good."""
        message = worker.receive()
        if isinstance(message, Sign):
            self._whole.add_done(message.done, message.seconds / self._count)  # the others work meanwhile
            self._whole.add_skipped(message.skipped)
        elif isinstance(message, StoreFailure):
            raise StoreError(message.reason)
        elif isinstance(message, ShardResult):
            if worker.shard is not None and message.parts:
                shard, worker.shard = worker.shard, None
                worker.shown.close()
                yield shard, message
        elif worker.shard is not None:
            losses = schedule.note_loss(worker.shard, worker=worker.number, reason=message)
            if losses < self._attempts:
                _log.warning("%s; what it was measuring is measured again", message)
            else:
                shard, worker.shard = worker.shard, None
                yield shard, ShardResult(parts=list(lost_cells(self._contexts, shard, message)))

    def _say_stop(self, stop: StopRequest) -> None:
        """Say what is finished before the run ends, how long that takes, and which trainings end at once."""
        now, training, flying = time.monotonic(), list[str](), list[InFlight]()
        for worker in self._workers:
            if (shard := worker.shard) is None:
                continue
            if worker.is_training:
                training.append(self._name(shard))
            elif not worker.is_preparing:
                what = f"{self._name(shard)} {self._ladder(shard).rungs[0].label}"
                flying.append(InFlight(what=what, forecast=shard.seconds, passed=now - worker.since))
        limit = TERM_SECONDS if stop.is_urgent else None
        _log.warning(stop_notice(flying, self._pace, training=training, limit=limit))
