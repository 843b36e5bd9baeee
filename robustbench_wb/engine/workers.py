"""Other processes that measure: each has the request, the data and the ledger, and is told which ladder to measure.

They find subjects in the cache of checkpoints, and clean cells and probes in the ledger, and add their records to it as
soon as they have them: what is killed has lost the ladder that it was at, and no more.
"""

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, NamedTuple

import torch

from robustbench_wb.engine.bench import Bench, RecordKeeper
from robustbench_wb.engine.cost_forecast import SampleCost
from robustbench_wb.engine.prepared_run import PreparedRun
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.progress import JobProgress, JobTrackingProgress, SilentProgress
from robustbench_wb.records.record import Measurement

if TYPE_CHECKING:
    from multiprocessing.sharedctypes import Synchronized, SynchronizedArray

_log = logging.getLogger(__name__)
TELL_SECONDS = 1.0
"""How often the whole is told, at least."""


class WorkUnit(NamedTuple):
    """What one process measures at a time."""

    task: int
    """Its number in the plan."""
    subject: int
    """Its number among those of the task."""
    ladder: int
    """Its number among those of the subject."""


def share_out(
    request: RunRequest,
    ledger: RecordKeeper,
    units: Sequence[WorkUnit],
    trial: Sequence[Mapping[str, SampleCost]],
    whole: JobProgress,
) -> Iterator[tuple[WorkUnit, list[Measurement]]]:
    """Measure units in as many processes as the request says, and give each as it is done.

    Those of a process that died are not given, nor are those that were waiting then: whoever asked measures them.

    Args:
        trial: what a sample of each subject costs, by task.
        whole: told every second what was done, in the seconds that ``trial`` foretold.
    """
    count = min(request.workers, len(units))
    context = multiprocessing.get_context("spawn")  # threads of torch do not survive a fork
    threads = max(1, torch.get_num_threads() // count)
    numbers = context.Value("i", 0)
    sums = context.Array("d", 2)
    given = (request, ledger, threads, numbers, trial, sums)
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(count, context, _begin, given) as pool:
        try:
            waiting = {pool.submit(_measure, unit): unit for unit in units}
            pending = set(waiting)
            while pending:
                done, pending = wait(pending, TELL_SECONDS, FIRST_COMPLETED)
                with sums.get_lock():
                    did, spared = sums[0], sums[1]
                    sums[:] = [0.0, 0.0]
                whole.did(did)
                whole.spared(spared)
                for future in done:
                    yield waiting[future], future.result()
        except BrokenProcessPool:
            _log.warning("a worker died: what it was to measure is measured without workers")
        except BaseException:
            # Nobody waits for what is under way: it is in nobody's table, and found again by the next run.
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()
            raise


class _Far:
    """The whole, seen from another process: work is added up until the parent fetches the sums."""

    def __init__(self, sums: "SynchronizedArray[float]") -> None:
        self.sums, self.tells = sums, False

    def did(self, work: float) -> None:
        """Add to the first sum."""
        self._add(0, work)

    def spared(self, work: float) -> None:
        """Add to the second."""
        self._add(1, work)

    def _add(self, place: int, work: float) -> None:
        if self.tells:
            with self.sums.get_lock():
                self.sums[place] += work


class _Worker:
    """What one of the processes keeps from unit to unit."""

    def __init__(
        self,
        request: RunRequest,
        ledger: RecordKeeper,
        trial: Sequence[Mapping[str, SampleCost]],
        sums: "SynchronizedArray[float]",
    ) -> None:
        self.job = PreparedRun(request, SilentProgress(), may_train=False)
        self.far = _Far(sums)
        progress = JobTrackingProgress(SilentProgress(), self.far)
        self.benches = [
            Bench(self.job, ledger, task, dataset, progress, own)
            for task, dataset, own in zip(self.job.plan.tasks, self.job.datasets, trial, strict=True)
        ]

    def measure(self, unit: WorkUnit) -> list[Measurement]:
        """The cells of a unit."""
        bench = self.benches[unit.task]
        plan = bench.task.subjects[unit.subject]
        ladder = bench.ladders(plan)[unit.ladder]
        found = {}
        for other, cells in bench.measure(plan, ladder.__eq__):
            found[other] = cells
            self.far.tells = True  # subject and clean cell, which come first, were the parent's work
        self.far.tells = False
        return found[ladder]


_worker: _Worker


def _begin(
    request: RunRequest,
    ledger: RecordKeeper,
    threads: int,
    numbers: "Synchronized[int]",
    trial: Sequence[Mapping[str, SampleCost]],
    sums: "SynchronizedArray[float]",
) -> None:
    """Make this process a worker. Ctrl-C is the parent's to answer, and without a parent there is nothing to do."""
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    with numbers.get_lock():
        number, numbers.value = numbers.value, numbers.value + 1
    cards = torch.cuda.device_count()
    if request.device in ("auto", "cuda") and cards > 1:
        request = request.model_copy(update={"device": f"cuda:{number % cards}"})
    _worker = _Worker(request, ledger, trial, sums)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _measure(unit: WorkUnit) -> list[Measurement]:
    return _worker.measure(unit)
