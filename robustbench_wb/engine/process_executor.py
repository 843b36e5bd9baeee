"""Execution of shards by other processes of this machine."""

import multiprocessing
import signal
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from types import ModuleType
from typing import Final

from robustbench_wb.engine.pool_executor import PoolExecutor
from robustbench_wb.engine.pool_worker import GRACE_SECONDS, Only, PoolWorker
from robustbench_wb.engine.shard import Shard
from robustbench_wb.engine.shard_worker import ShardResult, Sign, StoreFailure, WorkerSetup
from robustbench_wb.engine.worker_process import work
from robustbench_wb.interrupts import interrupts_held_back

_SPAWN: Final = multiprocessing.get_context("spawn")  # threads of torch do not survive a fork


class ProcessExecutor(PoolExecutor):
    """Measures shards in several processes of this machine at once."""

    def new_worker(self, setup: WorkerSetup, *, names: Callable[[Shard], str], only: Only | None) -> PoolWorker:
        """Start a process, see ``PoolWorker``."""
        return _Process(setup, names=names, only=only)

    def wait_for_news(self, workers: Sequence[PoolWorker], seconds: float) -> Collection[PoolWorker]:
        """Processes that have sent something or are dead."""
        connections = {worker.connection: worker for worker in workers if isinstance(worker, _Process)}
        return [connections[one] for one in wait(list(connections), seconds) if isinstance(one, Connection)]

    @staticmethod
    def workers_text(count: int) -> str:
        """Number of processes in words."""
        return f"{count} process{'es' if count > 1 else ''}"


@contextmanager
def _without_script() -> Iterator[None]:
    """Hide the script that called ``run`` from a new process, which would execute it again, ``run`` included.

    Nothing that a worker needs is in the script. Without this, a script needs ``if __name__ == "__main__":``.
    """
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


class _Process(PoolWorker):
    """A process and the pipe to it."""

    def __init__(self, setup: WorkerSetup, *, names: Callable[[Shard], str], only: Only | None) -> None:
        super().__init__(setup, names=names, only=only)
        self.connection, theirs = _SPAWN.Pipe()
        pickled = bytes(ForkingPickler.dumps(setup))
        self._process = _SPAWN.Process(target=work, args=(pickled, theirs), daemon=True)
        # Its first start gives signals free again.
        resource_tracker.ensure_running()
        with _without_script(), interrupts_held_back():
            self._process.start()
        theirs.close()

    def send(self, shard: Shard) -> None:
        """Send a shard through the pipe."""
        with suppress(OSError):
            self.connection.send(shard)

    def has_sent(self) -> bool:
        """Whether there is anything in the pipe."""
        return self.connection.poll()

    def take(self) -> Sign | ShardResult | StoreFailure | str | None:
        """The next message of the pipe; None if it is closed."""
        try:
            message: Sign | ShardResult | StoreFailure | str = self.connection.recv()
        except (EOFError, OSError):
            return None
        return message

    def death(self) -> str:
        """Exit code or signal of the process."""
        self._process.join(GRACE_SECONDS)
        code = self._process.exitcode
        if code is None or code >= 0:
            return f"its process ended with exit code {code}"
        killed = "; the memory may have run out" if -code == signal.SIGKILL else ""
        return f"its process was ended by {signal.Signals(-code).name}{killed}"

    def end(self) -> None:
        """Kill the process."""
        with suppress(OSError):
            self._process.kill()
        self._process.join()
        self.connection.close()
