"""Other processes that measure: each has the request, the data and the ledger, and is told which ladder to measure.

They find subjects in the cache of checkpoints, and clean cells and probes in the ledger, and add their records to it as
soon as they have them: what is killed has lost the ladder that it was at, and no more.
"""

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, NamedTuple

import torch

from robustbench_wb.engine.bench import Bench, Ledger
from robustbench_wb.engine.job import Prepared
from robustbench_wb.engine.record import Measured
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.progress import Nothing, Silent, Tied

if TYPE_CHECKING:
    from multiprocessing.sharedctypes import Synchronized

_log = logging.getLogger(__name__)


class Unit(NamedTuple):
    """What one process measures at a time."""

    task: int
    """Its number in the plan."""
    subject: int
    """Its number among those of the task."""
    ladder: int
    """Its number among those of the subject."""


def share_out(request: RunRequest, ledger: Ledger, units: Sequence[Unit]) -> Iterator[tuple[Unit, list[Measured]]]:
    """Measure units in as many processes as the request says, and give each as it is done.

    Those of a process that died are not given, nor are those that were waiting then: whoever asked measures them.
    """
    count = min(request.workers, len(units))
    context = multiprocessing.get_context("spawn")  # threads of torch do not survive a fork
    threads = max(1, torch.get_num_threads() // count)
    numbers = context.Value("i", 0)
    given = (request, ledger, threads, numbers)
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(count, context, _begin, given) as pool:
        try:
            waiting = {pool.submit(_measure, unit): unit for unit in units}
            for done in as_completed(waiting):
                yield waiting[done], done.result()
        except BrokenProcessPool:
            _log.warning("a worker died: what it was to measure is measured without workers")
        except BaseException:
            # Nobody waits for what is under way: it is in nobody's table, and found again by the next run.
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()
            raise


class _Worker:
    """What one of the processes keeps from unit to unit."""

    def __init__(self, request: RunRequest, ledger: Ledger) -> None:
        self.job = Prepared(request, Silent(), may_train=False)
        progress = Tied(Silent(), Nothing())
        self.benches = [
            Bench(self.job, ledger, task, dataset, progress, {})
            for task, dataset in zip(self.job.plan.tasks, self.job.datasets, strict=True)
        ]

    def measure(self, unit: Unit) -> list[Measured]:
        """The cells of a unit."""
        bench = self.benches[unit.task]
        plan = bench.task.subjects[unit.subject]
        ladder = bench.ladders(plan)[unit.ladder]
        return dict(bench.measure(plan, ladder.__eq__))[ladder]


_worker: _Worker


def _begin(request: RunRequest, ledger: Ledger, threads: int, numbers: "Synchronized[int]") -> None:
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
    _worker = _Worker(request, ledger)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _measure(unit: Unit) -> list[Measured]:
    return _worker.measure(unit)
