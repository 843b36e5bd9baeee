"""A worker: a process that measures shards for another one. It keeps no results, and may train models."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final

import torch

from robustbench_wb import rng
from robustbench_wb.engine.cost_forecast import SampleCost
from robustbench_wb.engine.device import choose_device
from robustbench_wb.engine.device_errors import is_lost
from robustbench_wb.engine.inline_executor import InlineExecutor
from robustbench_wb.engine.prepared_run import PreparedRun
from robustbench_wb.engine.record_keeper import RecordKeeper
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.engine.shard import CellPart, Shard
from robustbench_wb.engine.task_context import task_contexts
from robustbench_wb.engine.torch_state import seeded_generators
from robustbench_wb.progress import Advance, SilentProgress
from robustbench_wb.user_code import UserCode

SIGN_SECONDS: Final = 1.0
"""Least time between two signs of life."""


@dataclass(frozen=True, eq=False, kw_only=True)
class WorkerSetup:
    """Everything that a worker is started with."""

    request: RunRequest
    keeper: RecordKeeper
    """Where records and parts are found."""
    costs: Sequence[dict[str, SampleCost]]
    """Forecast cost of each model by name, for each task."""
    threads: int
    """CPU threads of torch."""
    number: int
    """Number of the worker, which chooses its card."""
    sharers: int
    """Workers that share the memory of the device, or the devices."""
    in_looks: bool = False
    """Whether the samples are measured look by look."""

    @property
    def on_own_card(self) -> "WorkerSetup":
        """The setup with the card of this worker, where there are several."""
        cards = torch.cuda.device_count()
        if self.request.device not in ("auto", "cuda") or cards < 2:
            return self
        device = f"cuda:{self.number % cards}"
        request = self.request.model_copy(update={"device": device})
        return replace(self, request=request, sharers=-(-self.sharers // cards))


@dataclass(frozen=True, kw_only=True)
class Sign:
    """Sign of life of a worker."""

    ready: bool = False
    """Whether a preparation has ended: the code and the data, or the model of a shard, are there."""
    trains: bool = False
    """Whether a model is being trained, or another process is waited for that trains it."""
    done: float = 0.0
    """Forecast seconds of work that it did since the last sign."""
    seconds: float = 0.0
    """Time that this work took."""
    skipped: float = 0.0
    """Forecast seconds of work that it was spared since the last sign."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ShardResult:
    """What a worker returns for a shard."""

    parts: list[CellPart]
    """Empty if the worker could not use its device any more."""
    left: list[Shard] = field(default_factory=list)
    """Shards of the model that are left, if the shard opened it."""
    seconds: float = 0.0
    """Time that the shard took."""
    lost_device: bool = False
    """Whether the worker cannot use its device any more."""


@dataclass(frozen=True)
class StoreFailure:
    """What a worker sends that cannot read the store: the run ends with it, as it does in one process."""

    reason: str


class ShardWorker:
    """Measures shards in this process, which belongs to the harness.

    Args:
        setup: what is measured, and how.
        tell: given signs of life while a model is trained and measured, at most one in ``SIGN_SECONDS``.

    Raises:
        UsageError: the request cannot be carried out here.
    """

    def __init__(self, setup: WorkerSetup, tell: Callable[[Sign], None]) -> None:
        own = setup.on_own_card
        self._device, self._told = choose_device(own.request.device), _ToldProgress(tell)
        if self._device.type == "cuda" and self._device.index is not None:
            torch.cuda.set_device(self._device)  # for code that names no device: it would start CUDA on the first one
        self._seed, self._tell = own.request.seed, tell
        logging.getLogger("robustbench_wb.tasks").setLevel(logging.ERROR)  # the parent has warned of the same data
        with self._safely():
            run = PreparedRun(own.request, self._told)
            contexts = task_contexts(
                run,
                keeper=own.keeper,
                costs=own.costs,
                whole=self._told.job,
                sharers=own.sharers,
                in_looks=own.in_looks,
            )
            self._inline = InlineExecutor(list(contexts))

    def measure(self, shard: Shard) -> ShardResult:
        """Measure a shard, unless an earlier one has made the device useless."""
        if is_lost(self._device):
            return ShardResult(parts=[], lost_device=True)
        started, left = time.perf_counter(), list[Shard]()
        with self._safely():
            # Of a model, one shard alone is counted as its training, and as its clean cell.
            self._told.job.counts = shard.opens
            evaluation = self._inline.evaluation(shard)
            if not shard.opens:
                _ = evaluation.clean
            self._tell(Sign(ready=True))
            self._told.job.counts = True
            parts = list(self._inline.measure(shard, left))
        self._told.send()
        return ShardResult(
            parts=parts, left=left, seconds=time.perf_counter() - started, lost_device=is_lost(self._device)
        )

    @contextmanager
    def _safely(self) -> Iterator[None]:
        with UserCode("run").running(), seeded_generators(rng.stream_key(self._seed, "run"), self._device):
            yield


class _Job:
    """The whole run as a worker sees it: work is added up until it is told."""

    def __init__(self, told: Callable[[], None]) -> None:
        self._told, self.counts = told, True
        self.done = self.seconds = self.skipped = 0.0

    def add_done(self, work: float, seconds: float) -> None:
        """Add to the work that was done, and to the time that it took."""
        if self.counts:
            self.done, self.seconds = self.done + work, self.seconds + seconds
        self._told()

    def add_skipped(self, work: float) -> None:
        """Add to the work that need not be done."""
        self.skipped += work if self.counts else 0.0


class _ToldProgress(SilentProgress):
    """Progress receiver that gives signs of life."""

    def __init__(self, tell: Callable[[Sign], None]) -> None:
        self._tell, self._next, self._trains = tell, 0.0, False
        self.job = _Job(self._maybe_send)

    @contextmanager
    def stage(self, label: str, total: int, unit: str) -> Iterator[Advance]:
        """Tell of the beginning, the steps and the end of a training; cells have a limit as a whole."""
        if unit != "steps":
            yield lambda count: None
            return
        self._trains = True
        self.send()
        try:
            yield lambda count: self._maybe_send()
        finally:
            self._trains = False
            self.send()

    def _maybe_send(self) -> None:
        if time.monotonic() >= self._next:
            self.send()

    def send(self) -> None:
        """Send a sign of life now."""
        self._next = time.monotonic() + SIGN_SECONDS
        job = self.job
        sign = Sign(trains=self._trains, done=job.done, seconds=job.seconds, skipped=job.skipped)
        job.done = job.seconds = job.skipped = 0.0
        self._tell(sign)
