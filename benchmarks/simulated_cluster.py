"""How busy the driver of a run keeps a large cluster whose workers die: the real driver, with workers that sleep.

    python benchmarks/simulated_cluster.py [--workers 200] [--models 50] [--cuts 20] [--seconds 30] [--faster 10]
        [--deaths 0.01] [--log RUN.jsonl] [--results PLACE]

Schedule, pool, replacement of workers, storage of parts and records are those of a run. A worker takes START seconds to
begin, sleeps as long as its shard takes, and returns made-up outcomes. Times are drawn from those of the shards in the
log of a real run (``run --log``), scaled to a mean of ``--seconds``; without a log, from an exponential distribution.
``--faster 10`` divides all times by ten, so that the driver has ten times the work per second of the cluster it stands
for. ``--deaths`` is the share of the workers that die per minute, of the cluster's time.
"""

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from robustbench_wb.engine.pool_executor import PoolExecutor
from robustbench_wb.engine.pool_worker import Only, PoolWorker
from robustbench_wb.engine.prepared_run import PreparedRun
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.engine.result_writer import ResultWriter
from robustbench_wb.engine.schedule import Schedule
from robustbench_wb.engine.shard import CellPart, Shard
from robustbench_wb.engine.shard_worker import ShardResult, Sign, StoreFailure, WorkerSetup
from robustbench_wb.engine.task_context import TaskContext, task_contexts
from robustbench_wb.progress import HiddenJobProgress, SilentProgress
from robustbench_wb.records.record import Identity, Measurement, Record, SubjectCard
from robustbench_wb.store.record_store import RecordStore

START = 10.0
"""Seconds until a worker has imported torch and built its first model."""


class Cluster:
    """What all simulated workers share: the clock, the times of shards, and the made-up outcomes.

    Args:
        context: the task.
        draw: draws the seconds of a shard.
        faster: divisor of all times.
        deaths: share of the workers that die per minute.
        cuts: shards per ladder.
    """

    def __init__(
        self, context: TaskContext, *, draw: Callable[[], float], faster: float, deaths: float, cuts: int
    ) -> None:
        self.context, self._draw, self.faster, self._deaths, self._cuts = context, draw, faster, deaths, cuts
        self.busy = self.lost = 0.0
        self.started = self.died = self.shards = 0

    def start(self) -> float:
        """Seconds until a new worker is ready."""
        self.started += 1
        return START / self.faster

    def seconds(self) -> float:
        """Seconds that the next shard takes."""
        return self._draw() / self.faster

    def life(self) -> float:
        """Seconds that a new worker lives."""
        return random.expovariate(self._deaths / 60) / self.faster if self._deaths else float("inf")

    def result(self, shard: Shard) -> ShardResult:
        """Made-up outcomes of a shard, and the shards that are left of a model that it opens."""
        self.shards += 1
        plan = self.context.subjects[shard.subject]
        rungs = self.context.ladder(shard.subject, shard.ladder).rungs
        ids = self.context.samples.ids[shard.first : shard.stop]
        parts, weights = [], f"weights of {plan.name}"
        for number, rung in enumerate(rungs):
            identity = Identity(
                signature=rung.signature, ladder=(), stressor_code="code", data="data", samples="samples",
                weights=weights, model_code="code", numerics="cpu", seed=0,
            )  # fmt: skip
            counts = np.full(len(ids), 40, np.int32)
            record = Record(
                identity=identity, ids=ids, states=np.zeros(len(ids), np.int8), losses=np.ones(len(ids), np.float32),
                forwards=counts, backwards=counts, wobble=0, seconds=1.0,
            )  # fmt: skip
            card = SubjectCard(parameters=1, weights=weights, train_seconds=0.0, trained=False)
            cell = Measurement(
                cell=self.context.cell(plan, rung), identity=identity, subject=card, record=record, reused=False,
                samples=len(ids),
            )  # fmt: skip
            parts.append(CellPart(shard=shard, rung=number, measurement=cell))
        return ShardResult(parts=parts, left=self._left(shard) if shard.opens else [])

    def _left(self, clean: Shard) -> list[Shard]:
        plan, ends = self.context.subjects[clean.subject], np.linspace(0, clean.stop, self._cuts + 1).astype(int)
        spans = list(zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True))
        return [
            replace(clean, ladder=place, first=first, stop=stop, seconds=30.0)
            for place in range(1, len(self.context.ladders(plan)))
            for first, stop in spans
        ]


class Sleeper(PoolWorker):
    """A worker that sleeps, and dies."""

    def __init__(
        self, setup: WorkerSetup, *, names: Callable[[Shard], str], only: Only | None, cluster: Cluster
    ) -> None:
        super().__init__(setup, names=names, only=only)
        now = time.monotonic()
        self._cluster, self._ready, self._dies = cluster, now + cluster.start(), now + cluster.life()
        self._begins, self._due = now, float("inf")

    def send(self, shard: Shard) -> None:
        """Begin to sleep."""
        self._begins = max(time.monotonic(), self._ready)
        self._due = self._begins + self._cluster.seconds()

    @property
    def next_event(self) -> float:
        """When the shard is finished, or the worker dies over it."""
        return min(self._due, self._dies)

    def has_sent(self) -> bool:
        """Whether the time has come."""
        return time.monotonic() >= self.next_event

    def take(self) -> Sign | ShardResult | StoreFailure | str | None:
        """The outcomes of the shard; None if the worker is dead."""
        if self._dies < self._due:
            self._cluster.died += 1
            self._cluster.lost += max(0.0, self._dies - self._begins)
            return None
        self._cluster.busy += self._due - self._begins
        self._due = float("inf")
        return self._cluster.result(self.shard) if self.shard is not None else None

    def death(self) -> str:
        """A simulated reason."""
        return "its machine was taken away"

    def end(self) -> None:
        """Nothing is left to end."""


class SimulatedExecutor(PoolExecutor):
    """A pool of workers that sleep."""

    cluster: Cluster

    def new_worker(self, setup: WorkerSetup, *, names: Callable[[Shard], str], only: Only | None) -> PoolWorker:
        """Start a worker that sleeps."""
        return Sleeper(setup, names=names, only=only, cluster=self.cluster)

    def wait_for_news(self, workers: Sequence[PoolWorker], seconds: float) -> Collection[PoolWorker]:
        """Sleep until the first shard is finished."""
        sleepers = [worker for worker in workers if isinstance(worker, Sleeper) and worker.shard is not None]
        first = min((sleeper.next_event for sleeper in sleepers), default=0.0)
        time.sleep(min(max(0.0, first - time.monotonic()), seconds))
        return [sleeper for sleeper in sleepers if sleeper.has_sent()]


def drawn_from(log: str | None, mean: float) -> Callable[[], float]:
    """Function that draws the seconds of a shard: one of those in the log of a run, scaled to a mean."""
    if log is None:
        return partial(random.expovariate, 1 / mean)
    lines = [json.loads(line) for line in Path(log).read_text(encoding="utf-8").splitlines()]
    times = [line["seconds"] for line in lines if line["event"] == "shard" and line["stressor"] != "clean"]
    scale = mean / (sum(times) / len(times))
    return lambda: scale * random.choice(times)


def main() -> None:
    """Simulate a run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=200)
    parser.add_argument("--models", type=int, default=50)
    parser.add_argument("--cuts", type=int, default=20, help="shards per ladder")
    parser.add_argument("--seconds", type=float, default=30.0, help="mean time of a shard")
    parser.add_argument("--faster", type=float, default=10.0)
    parser.add_argument("--deaths", type=float, default=0.01, help="share of the workers that die per minute")
    parser.add_argument("--log")
    parser.add_argument("--results", help="default: a temporary folder")
    given = parser.parse_args()
    names = tuple(f"crate;lam={number / 1000}" for number in range(1, given.models + 1))
    run = PreparedRun(RunRequest(suite="adversarial", variants=names, device="cpu"), SilentProgress())
    with tempfile.TemporaryDirectory() as temporary:
        store = RecordStore(given.results or temporary)
        (context,) = task_contexts(run, keeper=store)
        context = replace(context, subjects=context.task.subjects)
        draw = drawn_from(given.log, given.seconds)
        whole = HiddenJobProgress()
        executor = SimulatedExecutor(run, [context], keeper=store, costs=[{}], whole=whole, workers=given.workers)
        executor.cluster = Cluster(context, draw=draw, faster=given.faster, deaths=given.deaths, cuts=given.cuts)
        writer, cluster = ResultWriter(store, [context]), executor.cluster
        started, cpu = time.monotonic(), time.process_time()
        writer.write(executor.execute(Schedule([context])))
        seconds, cpu = time.monotonic() - started, time.process_time() - cpu
        for subject, plan in enumerate(context.subjects):
            for place, ladder in enumerate(context.ladders(plan)):
                if len(writer.cells((0, subject, place))) < len(ladder.rungs):
                    raise RuntimeError(f"cells of {plan.name} are missing")
    print(f"{given.workers} workers, {cluster.shards} shards, {cluster.died} workers died, {cluster.started} started")
    print(f"{seconds:.1f} s, which stand for {seconds * given.faster / 3600:.2f} hours")
    print(f"busy: {100 * cluster.busy / seconds / given.workers:.1f} % of the time of all workers")
    print(f"lost with dead workers: {100 * cluster.lost / seconds / given.workers:.1f} %")
    print(f"driver: {1000 * cpu / cluster.shards:.2f} ms of processor time per shard")


if __name__ == "__main__":
    main()
