"""Execution of shards with each model in a process of its own, whose end is an error of that model alone."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import groupby
from multiprocessing.connection import Connection
from typing import Final

import torch

from robustbench_wb import rng
from robustbench_wb.engine.child_process import become_child
from robustbench_wb.engine.cost_forecast import ladder_seconds
from robustbench_wb.engine.device import choose_device
from robustbench_wb.engine.device_errors import is_lost
from robustbench_wb.engine.inline_executor import InlineExecutor
from robustbench_wb.engine.model_evaluation import ModelEvaluation
from robustbench_wb.engine.prepared_run import PreparedRun
from robustbench_wb.engine.record_keeper import RecordKeeper
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.engine.shard import CellPart, Shard
from robustbench_wb.engine.task_context import TaskContext, task_contexts
from robustbench_wb.engine.torch_state import seeded_generators
from robustbench_wb.errors import HarnessError
from robustbench_wb.progress import Advance, JobProgress, SilentProgress
from robustbench_wb.user_code import UserCode

GRACE_SECONDS: Final = 5.0
"""Time after the limit of a ladder in which a process can stop by itself."""
START_SECONDS: Final = 60.0
"""Time beyond the limit for the start of a process, its imports and its data, and for a training step."""
SIGN_SECONDS: Final = 1.0
"""Time between two signs of life that a process sends while it trains."""


@dataclass(frozen=True, kw_only=True)
class _ChildSetup:
    """Everything that the process of a model is started with."""

    request: RunRequest
    """Request of this model on one task."""
    keeper: RecordKeeper
    shards: tuple[Shard, ...]
    """Shards to measure, as the request of the process counts them."""
    threads: int


class IsolatedExecutor:
    """Measures shards of one model after the other, each model in a new process.

    A process that dies, or is ended because it takes too long, loses the ladder that it was measuring. Another process
    goes on with the ladder after that.

    Args:
        contexts: the tasks of the run.
        keeper: where clean cells are found.
        whole: told how much work is done, in forecast seconds.
    """

    def __init__(self, contexts: Sequence[TaskContext], *, keeper: RecordKeeper, whole: JobProgress) -> None:
        self._contexts, self._keeper, self._whole = contexts, keeper, whole
        self._inline = InlineExecutor(contexts)

    def execute(self, shards: Iterable[Shard]) -> Iterator[CellPart]:
        """Yield the cells of each shard; cells that were lost with their process hold the reason as error."""
        for (task, subject), group in groupby(shards, key=lambda shard: (shard.task, shard.subject)):
            if self._contexts[task].subjects[subject].is_shortcut:
                yield from self._inline.execute(group)
            else:
                yield from self._model(self._contexts[task], list(group))

    def _model(self, context: TaskContext, shards: list[Shard]) -> Iterator[CellPart]:
        plan = context.subjects[shards[0].subject]
        ladders = context.ladders(plan)
        stage = context.run.progress.stage(f"{plan.name} in a process of its own", len(shards), "ladders")
        with stage as advance:
            while shards:
                process = _ModelProcess(self._setup(context, plan.name, shards), context.run.request.timeout, plan.name)
                done = 0
                for parts in process.ladders([len(ladders[shard.ladder].rungs) for shard in shards]):
                    yield from (replace(part, shard=shards[done]) for part in parts)
                    done += 1
                    advance(1)
                    work = ladder_seconds(ladders[shards[done - 1].ladder], len(context.samples), context.cost(plan))
                    self._whole.add_done(work)
                # Without the clean cell, which comes first, there is nothing to go on with. Without a problem, the next
                # process goes on.
                last = len(shards) if shards[0].ladder == 0 and done == 0 else done + 1
                lost = shards[done:last] if process.problem else []
                evaluation = ModelEvaluation(context=context, plan=plan, session=None, error=process.problem)
                for shard in lost:
                    for rung, cell in enumerate(evaluation.measure(ladders[shard.ladder])):
                        yield CellPart(shard=shard, rung=rung, measurement=cell)
                    advance(1)
                shards = shards[done + len(lost) :]

    def _setup(self, context: TaskContext, name: str, shards: Sequence[Shard]) -> _ChildSetup:
        update = {"isolate": False, "tasks": (context.task.task.name,), "variants": (name,)}
        return _ChildSetup(
            request=context.run.request.model_copy(update=update),
            keeper=self._keeper,
            shards=tuple(replace(shard, task=0, subject=0) for shard in shards),
            threads=torch.get_num_threads(),
        )


class _ModelProcess:
    """One process, which measures ladders of one model and sends the cells of each when it is finished."""

    def __init__(self, setup: _ChildSetup, timeout: float | None, name: str) -> None:
        self._setup, self._timeout, self._name = setup, timeout, name
        self.problem = ""
        """Why the ladder after the finished ones is missing; empty if none is."""

    def ladders(self, rungs: Sequence[int]) -> Iterator[list[CellPart]]:
        """Yield the cells of each finished ladder; ``rungs`` are the numbers of cells of all ladders."""
        spawn = multiprocessing.get_context("spawn")  # threads of torch do not survive a fork
        ours, theirs = spawn.Pipe(duplex=False)
        process = spawn.Process(target=_measure_model, args=(self._setup, theirs), daemon=True)
        process.start()
        theirs.close()
        try:
            for limit in self._limits(rungs):
                received = self._receive(ours, limit)
                if isinstance(received, list):
                    yield received
                elif received == _RESTARTS:
                    return
                elif received != _READY:
                    self.problem = received or self._death(process)
                    return
        finally:
            with suppress(OSError):
                process.kill()
            process.join()
            ours.close()

    def _limits(self, rungs: Sequence[int]) -> list[float | None]:
        """Seconds until each message: the code is imported, the model is ready, then one message per ladder."""
        if self._timeout is None:
            return [None] * (2 + len(rungs))
        start = self._timeout + START_SECONDS
        return [start, start, *(self._timeout * count for count in rungs)]

    def _receive(self, connection: Connection, limit: float | None) -> list[CellPart] | str:
        """The cells of a ladder, or the text that the process sent; empty if the process is dead.

        Each training step starts the time again, for a training may take long.
        """
        received: list[CellPart] | str = _TRAINS
        what = "took"
        while received == _TRAINS:
            if not connection.poll(None if limit is None else limit + GRACE_SECONDS):
                return f"{self._name}: {what} longer than {limit:g} seconds (timeout), and its process was ended"
            try:
                received = connection.recv()
            except (EOFError, OSError):
                return ""
            what = "a training step, or what followed it, took"
        return received

    def _death(self, process: multiprocessing.process.BaseProcess) -> str:
        process.join(GRACE_SECONDS)
        code = process.exitcode
        if code is None or code >= 0:
            return f"{self._name}: its process ended with exit code {code}"
        killed = "; the memory may have run out" if -code == signal.SIGKILL else ""
        return f"{self._name}: its process was ended by {signal.Signals(-code).name}{killed}"


_READY: Final = "ready"
_TRAINS: Final = "trains"
_RESTARTS: Final = "restarts"
"""Message of a process that cannot use its device any more; all ladders before it are measured."""


class _SignsOfLife(SilentProgress):
    """Progress receiver that tells the parent process of training steps, at most once in ``SIGN_SECONDS``."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._next = connection, 0.0

    @contextmanager
    def stage(self, label: str, total: int, unit: str) -> Iterator[Advance]:
        """Tell of a stage that counts steps, and ignore others: cells have a limit as a whole."""
        yield self._tell if unit == "steps" else lambda count: None

    def _tell(self, count: int) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + SIGN_SECONDS
            self._connection.send(_TRAINS)


def _measure_model(setup: _ChildSetup, connection: Connection) -> None:
    """Measure in a new process: send that code and model are ready, then the cells of each ladder, or what is wrong.

    Meanwhile, training steps are told.
    """
    become_child(setup.threads)
    os.dup2(2, 1)  # results are printed by the parent
    try:
        device = choose_device(setup.request.device)
        with UserCode("run").running(), seeded_generators(rng.stream_key(setup.request.seed, "run"), device):
            run = PreparedRun(setup.request, _SignsOfLife(connection))
            connection.send(_READY)
            inline = InlineExecutor(list(task_contexts(run, keeper=setup.keeper)))
            inline.evaluation(setup.shards[0])
            connection.send(_READY)
            for shard in setup.shards:
                connection.send(list(inline.execute([shard])))
                # Without the clean cell, a new process would fail as well.
                if is_lost(run.device) and inline.evaluation(shard).clean.record is not None:
                    connection.send(_RESTARTS)
                    return
    except HarnessError as error:
        connection.send(str(error))
