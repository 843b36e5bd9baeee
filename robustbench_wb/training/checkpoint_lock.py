"""Lock that lets only one process train a checkpoint; other processes wait and then find it in the cache."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from robustbench_wb.folders import cache_folder
from robustbench_wb.progress import Progress

_log = logging.getLogger(__name__)
POLL_SECONDS = 0.2


@contextmanager
def checkpoint_lock(name: str, label: str, progress: Progress) -> Iterator[None]:
    """Hold the lock of the checkpoint called ``name``; ``label`` names the training in messages and in ``progress``.

    The operating system releases the lock when its holder ends, even if killed. If the file system of the cache does
    not support locks, all processes continue at once: checkpoints are still written atomically, but work is repeated.
    """
    lock = FileLock(cache_folder("locks") / f"{name}.lock", mode=0o666, poll_interval=POLL_SECONDS)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _log.warning("%s is being trained by another process; waiting for it", label)
        with progress.stage(f"wait for the training of {label}", 1, "steps") as advance:
            while not _acquired(lock):
                advance(0)  # whoever waits for this process sees that it is alive
    except (OSError, NotImplementedError) as error:
        _log.warning("%s: no lock (%s); another process may train the same model at the same time", label, error)
    try:
        yield
    finally:
        lock.release()  # no effect if it is not held


def _acquired(lock: FileLock) -> bool:
    try:
        lock.acquire(timeout=1)
    except Timeout:
        return False
    return True
