"""Execution of shards by actors of Ray: on this machine, or on all machines of a cluster."""

import os
import signal
import threading
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from robustbench_wb.engine.pool_executor import PoolExecutor
from robustbench_wb.engine.pool_worker import Only, PoolWorker
from robustbench_wb.engine.shard import Shard
from robustbench_wb.engine.shard_worker import ShardResult, ShardWorker, Sign, StoreFailure, WorkerSetup
from robustbench_wb.errors import HarnessError, StoreError, UsageError


def start_ray(device: str) -> int:
    """Connect to the cluster that ``RAY_ADDRESS`` names, or start one on this machine.

    Args:
        device: type of the device: ``cuda`` for a worker per card, else a worker per CPU core.

    Returns:
        Number of workers that the cluster has room for.

    Raises:
        UsageError: Ray is not installed, or no cluster answers.
    """
    ray, handler = _ray(), signal.getsignal(signal.SIGTERM)
    try:
        if not ray.is_initialized():
            ray.init(log_to_driver=True, include_dashboard=None, logging_level="warning")
    except (ConnectionError, RuntimeError) as error:
        raise UsageError(f"executor ray: no cluster answers: {error}", "executor") from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # Ray's own would end the run at once
    return max(1, int(ray.cluster_resources().get("GPU" if device == "cuda" else "CPU", 1)))


class RayExecutor(PoolExecutor):
    """Measures shards by actors of Ray, each with one CPU core, or one card.

    Machines must share the cache folder, the data, and the files of models, under the same paths.
    """

    waits_for_room = True

    def new_worker(self, setup: WorkerSetup, *, names: Callable[[Shard], str], only: Only | None) -> PoolWorker:
        """Start an actor, see ``PoolWorker``."""
        return _Actor(setup, names=names, only=only, cards=int(self._run.device.type == "cuda"))

    def wait_for_news(self, workers: Sequence[PoolWorker], seconds: float) -> Collection[PoolWorker]:
        """Actors that have finished a shard or are dead."""
        busy = {worker.future: worker for worker in workers if isinstance(worker, _Actor) and worker.future is not None}
        waiting = [worker for worker in workers if isinstance(worker, _Actor) and worker.messages]
        if waiting or not busy:
            return waiting
        ready, _ = _ray().wait(list(busy), num_returns=1, timeout=seconds)
        return [busy[future] for future in ready]

    @staticmethod
    def threads(count: int) -> int:
        """One: Ray places an actor on each core."""
        return 1

    @staticmethod
    def sharers(count: int) -> int:
        """One: Ray gives an actor a card of its own, and a core that shares its memory as the system allows."""
        return 1


class _Actor(PoolWorker):
    """An actor and the shard that it was asked for."""

    def __init__(self, setup: WorkerSetup, *, names: Callable[[Shard], str], only: Only | None, cards: int) -> None:
        super().__init__(setup, names=names, only=only)
        ray = _ray()
        variables = {name: value for name, value in os.environ.items() if name.startswith(("RBWB_", "AWS_"))}
        name = f"robustbench-wb {os.getpid()}.{setup.number}"
        place = {"num_cpus": 0 if cards else 1, "num_gpus": cards}
        kind = ray.remote(**place)(_Measurer).options(name=name, runtime_env={"env_vars": variables})
        self._actor = kind.remote(setup, str(Path.cwd()))
        self.future: Any = None
        """What Ray calls the answer to come; None: nothing is asked."""
        self.messages: list[Sign | ShardResult | StoreFailure | str] = []
        """Messages that have come and were not taken."""
        self._death = "its worker was lost"

    @property
    def is_preparing(self) -> bool:
        """Whether the actor has never answered: it tells with the result of a shard alone what it has done."""
        return not self.was_heard

    def begin_limit(self, *, trains: bool = False) -> None:
        """Begin no limit: an actor may wait for a place, and ends long evaluations itself."""

    def send(self, shard: Shard) -> None:
        """Ask the actor for a shard."""
        self.future = self._actor.measure.remote(shard)

    def has_sent(self) -> bool:
        """Whether the answer is there."""
        return bool(self.messages) or bool(_ray().wait([self.future], timeout=0)[0])

    def take(self) -> Sign | ShardResult | StoreFailure | str | None:
        """The next message of the answer; None if the actor is dead."""
        ray = _ray()
        if not self.messages:
            future, self.future = self.future, None
            try:
                self.messages = ray.get(future)
            except ray.exceptions.RayError as error:
                lines = [line for line in str(error).splitlines() if line.strip()]
                self._death = f"its worker was lost: {lines[-1].strip()}" if lines else "its worker was lost"
                return None
        return self.messages.pop(0)

    def death(self) -> str:
        """What Ray says of the end of the actor."""
        return self._death

    def end(self) -> None:
        """Kill the actor."""
        with suppress(Exception):  # Ray may be gone
            _ray().kill(self._actor)


class _Measurer:
    """A worker inside an actor, which is started with the first shard."""

    def __init__(self, setup: WorkerSetup, folder: str) -> None:
        os.chdir(folder)
        torch.set_num_threads(setup.threads)
        self._setup, self._signs = setup, list[Sign]()
        self._worker: ShardWorker | None = None

    def measure(self, shard: Shard) -> list[Sign | ShardResult | StoreFailure | str]:
        """Signs of life, all at once, and the result of the shard; or what is wrong."""
        try:
            if self._worker is None:
                self._worker = ShardWorker(self._setup, self._signs.append)
                self._signs.append(Sign(ready=True))
            result = self._worker.measure(shard)
        except StoreError as error:
            return [StoreFailure(str(error))]
        except HarnessError as error:
            return [str(error)]
        signs, self._signs[:] = list(self._signs), []
        return [*signs, result]


def _ray() -> Any:
    try:
        return import_module("ray")
    except ImportError as error:
        words = "executor ray needs a package that is not installed; pip install 'robustbench_wb[ray]'"
        raise UsageError(words, "executor") from error
