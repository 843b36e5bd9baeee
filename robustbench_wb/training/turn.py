"""One process at a time trains a checkpoint; the others wait for it and find what it has made."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from robustbench_wb.folders import cache_folder

_log = logging.getLogger(__name__)
POLL_SECONDS = 0.2


@contextmanager
def turn(name: str, label: str) -> Iterator[None]:
    """Hold the lock of a checkpoint of that name.

    The operating system lets go of it when its holder dies, killed or not. Where the cache knows no locks, everybody
    goes on at once: what is written is whole all the same, and work is done twice.
    """
    lock = FileLock(cache_folder("locks") / f"{name}.lock", poll_interval=POLL_SECONDS)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _log.warning("%s is being trained by another process; waiting for it", label)
        lock.acquire()
    except (OSError, NotImplementedError) as error:
        _log.warning("%s: no lock (%s); another process may train the same", label, error)
    try:
        yield
    finally:
        lock.release()  # nothing, where it is not held
