"""Execution of shards by other processes, each of which has the request, the data and the stored records.

They find models in the cache of checkpoints, and clean cells among the stored records. A process that is killed loses
the ladder that it was measuring, and no more.
"""

import logging
import multiprocessing
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import torch

from robustbench_wb.engine.child_process import become_child
from robustbench_wb.engine.cost_forecast import SampleCost
from robustbench_wb.engine.device_errors import free_cached_memory, is_lost
from robustbench_wb.engine.inline_executor import InlineExecutor
from robustbench_wb.engine.prepared_run import PreparedRun
from robustbench_wb.engine.record_keeper import RecordKeeper
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.engine.shard import CellPart, Shard
from robustbench_wb.engine.task_context import task_contexts
from robustbench_wb.progress import Advance, JobProgress, SilentProgress

if TYPE_CHECKING:
    from multiprocessing.sharedctypes import Synchronized, SynchronizedArray

_log = logging.getLogger(__name__)
TELL_SECONDS = 1.0
"""Longest time between two updates of the progress of the whole run."""


_SPAWN: Final = multiprocessing.get_context("spawn")  # threads of torch do not survive a fork


class ShardResult(NamedTuple):
    """What a worker returns."""

    cells: list[CellPart] | None = None
    """Cells of the shard; None if it was not measured."""
    lost_device: bool = False
    """Whether the worker cannot use its device any more."""


@dataclass(frozen=True, eq=False, kw_only=True)
class _WorkerSetup:
    """Everything that a worker process is started with."""

    request: RunRequest
    keeper: RecordKeeper
    costs: Sequence[dict[str, SampleCost]]
    threads: int
    """CPU threads of each worker."""
    workers: int
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
        """Yield the cells of each shard as it is finished. When a worker dies, all unfinished shards are lost.

        When a worker can use its device no more, other workers are started for the unfinished shards.
        """
        waiting = list(shards)
        free_cached_memory(self._run.device)  # of this process, which the workers can use
        stage = self._run.progress.stage(f"cells by {self._run.request.workers} workers", len(waiting), "ladders")
        with stage as advance:
            goes_on = True
            while waiting and goes_on:
                goes_on = yield from self._round(waiting, advance)

    def _round(self, waiting: list[Shard], advance: Advance) -> Generator[CellPart, None, bool]:
        """Yield the cells of shards, which leave ``waiting`` then; return whether new workers can measure the rest."""
        setup = self._setup(min(self._run.request.workers, len(waiting)))
        others, goes_on = set(multiprocessing.active_children()), False
        with ProcessPoolExecutor(setup.workers, _SPAWN, _begin, (setup,)) as pool:
            try:
                asked = {pool.submit(measure_shard, shard): shard for shard in waiting}
                for future in self._finished(set(asked), setup.sums):
                    found = ShardResult() if future.cancelled() else future.result()
                    if found.cells is not None:
                        waiting.remove(asked[future])
                        yield from found.cells
                        advance(1)
                    if found.lost_device and not goes_on:
                        goes_on = True
                        _log.warning("a worker cannot use its device any more: new workers are started")
                        pool.shutdown(wait=False, cancel_futures=True)
            except BrokenProcessPool:
                _log.warning("a worker died: what it was to measure is measured without workers")
                return False
            except BaseException:
                # Unfinished shards are in no table; the next run measures them.
                for process in set(multiprocessing.active_children()) - others:
                    process.terminate()
                raise
        return goes_on

    def _setup(self, workers: int) -> _WorkerSetup:
        return _WorkerSetup(
            request=self._run.request,
            keeper=self._keeper,
            costs=self._costs,
            threads=max(1, torch.get_num_threads() // workers),
            workers=workers,
            numbers=_SPAWN.Value("i", 0),
            sums=_SPAWN.Array("d", 2),
        )

    def _finished(
        self, pending: set["Future[ShardResult]"], sums: "SynchronizedArray[float]"
    ) -> Iterator["Future[ShardResult]"]:
        """Yield each future when it is done, and report the progress of all workers meanwhile."""
        while pending:
            done, _ = wait(pending, TELL_SECONDS, FIRST_COMPLETED)
            done |= {future for future in pending if future.cancelled()}  # of which nobody is told
            pending = pending - done
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

    def __init__(self, setup: _WorkerSetup, request: RunRequest, sharers: int) -> None:
        run = PreparedRun(request, SilentProgress(), may_train=False)
        self._device, self._whole = run.device, _RemoteWhole(setup.sums)
        contexts = task_contexts(run, keeper=setup.keeper, costs=setup.costs, whole=self._whole, sharers=sharers)
        self._inline = InlineExecutor(list(contexts))

    def measure(self, shard: Shard) -> ShardResult:
        """Measure a shard, unless an earlier one has made the device useless."""
        if is_lost(self._device):
            return ShardResult(lost_device=True)
        _ = self._inline.evaluation(shard).clean  # the work of the parent, which has reported it
        self._whole.reports = True
        try:
            cells = list(self._inline.execute([shard]))
            return ShardResult(cells, is_lost(self._device))
        finally:
            self._whole.reports = False


_worker: _Worker


def _begin(setup: _WorkerSetup) -> None:
    """Make this process a worker. The parent handles Ctrl-C; without a parent the process ends."""
    global _worker
    become_child(setup.threads)
    with setup.numbers.get_lock():
        number, setup.numbers.value = setup.numbers.value, setup.numbers.value + 1
    request, cards, sharers = setup.request, torch.cuda.device_count(), setup.workers
    if request.device in ("auto", "cuda") and cards > 1:
        request = request.model_copy(update={"device": f"cuda:{number % cards}"})
        torch.cuda.set_device(
            number % cards
        )  # for code that names no device: it would start CUDA on the first one, too
        sharers = -(-setup.workers // cards)
    _worker = _Worker(setup, request, sharers)


def measure_shard(shard: Shard) -> ShardResult:
    """Measure a shard in this process, which ``_begin`` has made a worker."""
    return _worker.measure(shard)
