"""Execution of shards by other processes, each of which has the request, the data and the stored records.

They find models in the cache of checkpoints, and clean cells among the stored records. A process that is killed loses
the ladder that it was measuring, and no more.
"""

import logging
import multiprocessing
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from robustbench_wb.engine.child_process import become_child
from robustbench_wb.engine.cost_forecast import SampleCost
from robustbench_wb.engine.inline_executor import InlineExecutor
from robustbench_wb.engine.prepared_run import PreparedRun
from robustbench_wb.engine.record_keeper import RecordKeeper
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.engine.shard import CellPart, Shard
from robustbench_wb.engine.task_context import task_contexts
from robustbench_wb.progress import JobProgress, SilentProgress

if TYPE_CHECKING:
    from multiprocessing.sharedctypes import Synchronized, SynchronizedArray

_log = logging.getLogger(__name__)
TELL_SECONDS = 1.0
"""Longest time between two updates of the progress of the whole run."""


@dataclass(frozen=True, eq=False, kw_only=True)
class _WorkerSetup:
    """Everything that a worker process is started with."""

    request: RunRequest
    keeper: RecordKeeper
    costs: Sequence[dict[str, SampleCost]]
    threads: int
    """CPU threads of each worker."""
    numbers: "Synchronized[int]"
    """Number of the next worker."""
    sums: "SynchronizedArray[float]"
    """Forecast seconds of work that workers did, and that they were spared, since the parent last asked."""


class ProcessExecutor:
    """Measures shards in as many processes as the request says.

    Args:
        run: the prepared request; its models are trained already.
        keeper: where clean cells are found.
        costs: forecast cost of each model by name, for each task.
        whole: told every second how much work is done, in forecast seconds.
    """

    def __init__(
        self, run: PreparedRun, *, keeper: RecordKeeper, costs: Sequence[dict[str, SampleCost]], whole: JobProgress
    ) -> None:
        self._run, self._keeper, self._costs, self._whole = run, keeper, costs, whole

    def execute(self, shards: Iterable[Shard]) -> Iterator[CellPart]:
        """Yield the cells of each shard as it is finished. When a worker dies, all unfinished shards are lost."""
        waiting = list(shards)
        workers = min(self._run.request.workers, len(waiting))
        context = multiprocessing.get_context("spawn")  # threads of torch do not survive a fork
        setup = _WorkerSetup(
            request=self._run.request,
            keeper=self._keeper,
            costs=self._costs,
            threads=max(1, torch.get_num_threads() // workers),
            numbers=context.Value("i", 0),
            sums=context.Array("d", 2),
        )
        others = set(multiprocessing.active_children())
        stage = self._run.progress.stage(f"cells by {self._run.request.workers} workers", len(waiting), "ladders")
        with stage as advance, ProcessPoolExecutor(workers, context, _begin, (setup,)) as pool:
            try:
                for future in self._finished({pool.submit(_measure, shard) for shard in waiting}, setup.sums):
                    yield from future.result()
                    advance(1)
            except BrokenProcessPool:
                _log.warning("a worker died: what it was to measure is measured without workers")
            except BaseException:
                # Unfinished shards are in no table; the next run measures them.
                for process in set(multiprocessing.active_children()) - others:
                    process.terminate()
                raise

    def _finished(
        self, pending: set[Future[list[CellPart]]], sums: "SynchronizedArray[float]"
    ) -> Iterator[Future[list[CellPart]]]:
        """Yield each future when it is done, and report the progress of all workers meanwhile."""
        while pending:
            done, pending = wait(pending, TELL_SECONDS, FIRST_COMPLETED)
            with sums.get_lock():
                spent, skipped = sums[0], sums[1]
                sums[:] = [0.0, 0.0]
            self._whole.add_done(spent)
            self._whole.add_skipped(skipped)
            yield from done


class _RemoteWhole:
    """The whole run as a worker sees it: work is added up until the parent fetches the sums."""

    def __init__(self, sums: "SynchronizedArray[float]") -> None:
        self._sums, self.reports = sums, False

    def add_done(self, work: float) -> None:
        """Add to the work that was done."""
        self._add(0, work)

    def add_skipped(self, work: float) -> None:
        """Add to the work that need not be done."""
        self._add(1, work)

    def _add(self, place: int, work: float) -> None:
        if self.reports:
            with self._sums.get_lock():
                self._sums[place] += work


class _Worker:
    """State that a worker process keeps from shard to shard."""

    def __init__(self, setup: _WorkerSetup, request: RunRequest) -> None:
        run = PreparedRun(request, SilentProgress(), may_train=False)
        self._whole = _RemoteWhole(setup.sums)
        contexts = task_contexts(run, keeper=setup.keeper, costs=setup.costs, whole=self._whole)
        self._inline = InlineExecutor(list(contexts))

    def measure(self, shard: Shard) -> list[CellPart]:
        """The cells of a shard."""
        _ = self._inline.evaluation(shard).clean  # the work of the parent, which has reported it
        self._whole.reports = True
        try:
            return list(self._inline.execute([shard]))
        finally:
            self._whole.reports = False


_worker: _Worker


def _begin(setup: _WorkerSetup) -> None:
    """Make this process a worker. The parent handles Ctrl-C; without a parent the process ends."""
    global _worker
    become_child(setup.threads)
    with setup.numbers.get_lock():
        number, setup.numbers.value = setup.numbers.value, setup.numbers.value + 1
    request, cards = setup.request, torch.cuda.device_count()
    if request.device in ("auto", "cuda") and cards > 1:
        request = request.model_copy(update={"device": f"cuda:{number % cards}"})
    _worker = _Worker(setup, request)


def _measure(shard: Shard) -> list[CellPart]:
    return _worker.measure(shard)
