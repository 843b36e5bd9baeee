"""Execution of shards by other processes of this machine. The end of one of them is at worst an error of one shard."""

import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from typing import Final

import torch

from robustbench_wb.engine.child_process import become_child
from robustbench_wb.engine.cost_forecast import SampleCost, ladder_seconds
from robustbench_wb.engine.device_errors import free_cached_memory
from robustbench_wb.engine.lost_shards import LostShards
from robustbench_wb.engine.prepared_run import PreparedRun
from robustbench_wb.engine.record_keeper import RecordKeeper
from robustbench_wb.engine.schedule import Schedule
from robustbench_wb.engine.shard import CellPart, Shard
from robustbench_wb.engine.shard_worker import ShardResult, ShardWorker, Sign, WorkerSetup
from robustbench_wb.engine.task_context import TaskContext
from robustbench_wb.errors import HarnessError
from robustbench_wb.interrupts import StopRequest, deferring_interrupts
from robustbench_wb.progress import JobProgress

_log = logging.getLogger(__name__)
GRACE_SECONDS: Final = 5.0
"""Time after the limit of a shard in which a process can stop by itself."""
START_SECONDS: Final = 60.0
"""Time beyond the limit for the start of a process, its imports and its data, and for a training step."""
TERM_SECONDS: Final = 8.0
"""Time in which shards may be finished after SIGTERM: schedulers of clusters kill what lives much longer."""
WAIT_SECONDS: Final = 1.0
"""Longest time between two looks at the limits of all workers."""
_SPAWN: Final = multiprocessing.get_context("spawn")  # threads of torch do not survive a fork


class ProcessExecutor:
    """Measures shards in several processes at once. Which process measures a shard cannot change it.

    A shard whose process dies is measured again by another process; if that dies as well, its cells are errors.

    Args:
        run: the prepared request.
        contexts: its tasks.
        keeper: where records and parts are found.
        costs: forecast cost of each model by name, for each task.
        whole: told how much work is done, in forecast seconds.
        workers: number of processes.
        isolated: whether each model gets processes of its own, and a shard is not tried twice.
    """

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
        self._lost = LostShards(contexts, attempts=1 if isolated else 2)
        self._started = 0
        self._workers: list[_Worker] = []

    def execute(self, schedule: Schedule) -> Iterator[CellPart]:
        """Yield the results of shards as they come."""
        free_cached_memory(self._run.device)  # of this process, which the workers can use
        total = sum(len(context.ladders(plan)) for context in self._contexts for plan in context.subjects)
        number = f"{self._count} process{'es' if self._count > 1 else ''}"
        stage = self._run.progress.stage(f"cells by {number}", total, "ladders")
        with stage as advance, deferring_interrupts(self._say_stop) as stop:
            try:
                while not schedule.is_finished:
                    if stop.since is None:
                        self._give(schedule)
                    elif self._has_stopped(stop):
                        stop.raise_interrupt()
                    for worker in self._with_news():
                        for shard, result in self._results(worker):
                            yield from result.parts
                            advance(schedule.finish(shard, result.left))
                            if self._isolated:
                                self._whole.add_done(self._seconds(shard))
                        if worker.has_ended:
                            self._workers.remove(worker)
                            worker.end()
                            if worker.shard is not None:
                                schedule.put_back(worker.shard)
            finally:
                # Unfinished shards are in no table; the next run measures them.
                for worker in self._workers:
                    worker.end()
                self._workers = []

    def _say_stop(self) -> None:
        count = sum(worker.shard is not None for worker in self._workers)
        _log.warning("finishing %d shards, which are stored then; Ctrl-C again stops at once", count)

    def _has_stopped(self, stop: StopRequest) -> bool:
        """Whether nothing is measured any more, or the time that SIGTERM gives is over."""
        late = stop.number == signal.SIGTERM and time.monotonic() > (stop.since or 0.0) + TERM_SECONDS
        return late or all(worker.shard is None for worker in self._workers)

    def _give(self, schedule: Schedule) -> None:
        """Give shards to workers that have none, and start workers that are missing."""
        for worker in [worker for worker in self._workers if worker.shard is None]:
            if (shard := schedule.take(worker.last)) is None:
                continue
            if not worker.measures(shard):
                self._workers.remove(worker)
                worker.end()
                worker = self._start(shard)
            worker.give(shard, self._rungs(shard))
        while len(self._workers) < self._count and (shard := schedule.take()) is not None:
            self._start(shard).give(shard, self._rungs(shard))

    def _rungs(self, shard: Shard) -> int:
        context = self._contexts[shard.task]
        return len(context.ladders(context.subjects[shard.subject])[shard.ladder].rungs)

    def _seconds(self, shard: Shard) -> float:
        """Forecast of a whole ladder."""
        context = self._contexts[shard.task]
        plan = context.subjects[shard.subject]
        return ladder_seconds(context.ladders(plan)[shard.ladder], len(context.samples), context.cost(plan))

    def _start(self, shard: Shard) -> "_Worker":
        context = self._contexts[shard.task]
        request, models = self._run.request.model_copy(update={"isolate": False}), None
        if self._isolated:  # nothing but the model of the shard, and the baselines of its task, is known there
            own = context.task.subjects
            name = own[min(shard.subject, len(own) - 1)].name
            request = request.model_copy(update={"tasks": (context.task.task.name,), "variants": (name,)})
            models = (shard.task, min(shard.subject, len(own) - 1), shard.subject)
        setup = WorkerSetup(
            request=request,
            keeper=self._keeper,
            # Without costs nobody times the model, which might end the process, and nothing is divided.
            costs=() if self._isolated else self._costs,
            threads=max(1, torch.get_num_threads() // self._count),
            number=self._started,
            sharers=self._count,
        )
        self._started += 1
        self._workers.append(_Worker(setup, names=self._name, only=models))
        return self._workers[-1]

    def _name(self, shard: Shard) -> str:
        return self._contexts[shard.task].subjects[shard.subject].name

    def _with_news(self) -> "list[_Worker]":
        """Workers that have sent something, are dead, or are over their time; waits for one, but not for long."""
        ready = wait([worker.connection for worker in self._workers], WAIT_SECONDS)
        return [worker for worker in self._workers if worker.connection in ready or worker.is_late]

    def _results(self, worker: "_Worker") -> Iterator[tuple[Shard, ShardResult]]:
        """Results of the shard of a worker, or errors if it was lost with its worker for good."""
        message = worker.receive()
        if isinstance(message, Sign):
            self._whole.add_done(message.done)
            self._whole.add_skipped(message.skipped)
        elif isinstance(message, ShardResult):
            if worker.shard is not None and message.parts:
                shard, worker.shard = worker.shard, None
                yield shard, message
        elif worker.shard is not None:
            found = self._lost.errors(worker.shard, message)
            if found is None:
                _log.warning("%s; what it was measuring is measured again", message)
            else:
                shard, worker.shard = worker.shard, None
                yield shard, ShardResult(parts=found)


class _Worker:
    """One process, and the shard that it is measuring.

    Args:
        setup: what it is started with.
        names: name of the model of a shard.
        only: index of the task, of the first model, and of the one model that the process measures; None: all.
    """

    def __init__(self, setup: WorkerSetup, *, names: Callable[[Shard], str], only: tuple[int, int, int] | None) -> None:
        self._timeout, self._names, self._only = setup.request.timeout, names, only
        self.connection, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_work, args=(setup, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self.shard: Shard | None = None
        """The shard that the process is measuring."""
        self.last: Shard | None = None
        """The shard that the process was given last."""
        self.has_ended = False
        """Whether the process is dead, was ended, or cannot use its device any more."""
        self._preparations, self._rungs = 1, 0
        self._what, self._limit, self._until = "took", 0.0, float("inf")

    def measures(self, shard: Shard) -> bool:
        """Whether the process knows the model of a shard."""
        return self._only is None or (shard.task, shard.subject) == (self._only[0], self._only[2])

    def give(self, shard: Shard, rungs: int) -> None:
        """Let the process measure a shard of so many cells."""
        self.shard = self.last = shard
        self._preparations, self._rungs = self._preparations + 1, rungs
        with suppress(OSError):  # it is dead, which is seen when it is heard
            self.connection.send(self._inside(shard))
        self._begin_limit()

    def receive(self) -> Sign | ShardResult | str:
        """What the process has sent, or why nothing will come any more."""
        try:
            if self.is_late and not self.connection.poll():
                self.has_ended = True
                words = f"{self._what} longer than {self._limit:g} seconds (timeout), and its process was ended"
                return f"{self._model}: {words}"
            message: Sign | ShardResult | str = self.connection.recv()
        except (EOFError, OSError):
            self.has_ended = True
            return self._death()
        if isinstance(message, Sign):
            self._preparations -= message.ready
            if message.ready or message.trains:
                self._begin_limit(trains=message.trains)
            return message
        if isinstance(message, ShardResult):
            self._until, self.has_ended = float("inf"), message.lost_device
            if message.lost_device:
                _log.warning("a worker cannot use its device any more: another one is started")
            parts = [replace(part, shard=self._outside(part.shard)) for part in message.parts]
            return replace(message, parts=parts, left=[self._outside(shard) for shard in message.left])
        self.has_ended = True
        return message

    @property
    def is_late(self) -> bool:
        """Whether the process takes longer than it may."""
        return time.monotonic() > self._until

    def end(self) -> None:
        """End the process."""
        with suppress(OSError):
            self._process.kill()
        self._process.join()
        self.connection.close()

    @property
    def _model(self) -> str:
        return "a worker" if self.last is None else self._names(self.last)

    def _begin_limit(self, *, trains: bool = False) -> None:
        if self._timeout is None:
            return
        preparing = self._preparations > 0 or trains
        self._limit = self._timeout + START_SECONDS if preparing else self._timeout * self._rungs
        self._what = "a training step, or what followed it, took" if trains else "took"
        self._until = time.monotonic() + self._limit + GRACE_SECONDS

    def _death(self) -> str:
        self._process.join(GRACE_SECONDS)
        code = self._process.exitcode
        if code is None or code >= 0:
            return f"{self._model}: its process ended with exit code {code}"
        killed = "; the memory may have run out" if -code == signal.SIGKILL else ""
        return f"{self._model}: its process was ended by {signal.Signals(-code).name}{killed}"

    def _inside(self, shard: Shard) -> Shard:
        """A shard as the process counts tasks and models."""
        if self._only is None:
            return shard
        return replace(shard, task=0, subject=shard.subject - self._only[1])

    def _outside(self, shard: Shard) -> Shard:
        """A shard as the run counts tasks and models."""
        if self._only is None:
            return shard
        return replace(shard, task=self._only[0], subject=shard.subject + self._only[1])


def _work(setup: WorkerSetup, connection: Connection) -> None:
    """Measure shards in a new process, as they are asked for, until the parent ends it."""
    become_child(setup.threads)
    os.dup2(2, 1)  # results are printed by the parent
    try:
        worker = ShardWorker(setup, connection.send)
        connection.send(Sign(ready=True))
        while True:
            connection.send(worker.measure(connection.recv()))
    except HarnessError as error:
        connection.send(str(error))
