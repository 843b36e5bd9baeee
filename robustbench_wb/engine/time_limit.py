"""Time limit of a block, by an alarm of the operating system."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from robustbench_wb.interrupts import OutOfTimeError

AGAIN_SECONDS = 1.0
"""Time between two alarms: code that catches the first one is stopped by a later one."""


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Stop Python code of the block after some seconds; None: no limit.

    Nothing stops code outside the main thread, on Windows, or in one long call of a C library. ``run --isolate`` ends
    the process instead.

    Raises:
        OutOfTimeError: the time is over.
    """
    if seconds is None or not can_limit():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise OutOfTimeError(f"took longer than {seconds:g} seconds (timeout)")

    handler = signal.signal(signal.SIGALRM, stop)
    left = signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, *left)  # of a block around this one


def can_limit() -> bool:
    """Whether this thread can be stopped."""
    return hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
