"""Ctrl-C of the user, told from a ``KeyboardInterrupt`` that a model raises, and SIGTERM and SIGHUP, which do the same.

SIGHUP comes when the terminal is closed, up to twice: from the system and from the shell.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final, NoReturn

CHANGES_NO_NUMBER: Final = "it decides whether an interrupt ends the run"
_HANGUP: Final = getattr(signal, "SIGHUP", None)  # Windows has none
_ENDS: Final = (signal.SIGTERM,) if _HANGUP is None else (signal.SIGTERM, _HANGUP)
_STOPS: Final = (signal.SIGINT, *_ENDS)


class OutOfTimeError(BaseException):
    """An evaluation took longer than allowed. No ``Exception``, so that a model that catches those does not stop it."""


class _Watch:
    """Whether Ctrl-C is watched for, whether it came, and the number of the signal that came.

    The values belong to an object, because names of this module are put back after code of users has run.
    """

    def __init__(self) -> None:
        self.active = self.seen = False
        self.number = 0


_WATCH: Final = _Watch()


def is_interrupt(error: BaseException) -> bool:
    """Whether an exception is the user's Ctrl-C, which only the main thread gets.

    Without a watch, every ``KeyboardInterrupt`` of the main thread is taken for one.
    """
    return isinstance(error, KeyboardInterrupt) and _is_main_thread() and (_WATCH.seen or not _WATCH.active)


def stop_signal() -> int:
    """Number of the signal that ended the block that was watched last; that of Ctrl-C if none is known."""
    return _WATCH.number or signal.SIGINT


def stop_words(number: int) -> str:
    """What a command says that was ended by a signal."""
    return "interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}"


@contextmanager
def ending_at_once() -> Iterator[None]:
    """In this block, Ctrl-C, SIGTERM and SIGHUP end the process with one line, as imports cannot be left half done.

    Handlers of others, and signals that are ignored, are left alone.
    """
    usual = (signal.SIG_DFL, signal.default_int_handler)
    handlers = {number: signal.getsignal(number) for number in _STOPS if signal.getsignal(number) in usual}
    for number in handlers:
        signal.signal(number, _end)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def watching_interrupts(*, ends: bool = False) -> Iterator[None]:
    """Note in this block whether Ctrl-C was typed. Other handlers, and threads beside the main one, are left alone.

    Args:
        ends: whether SIGTERM and SIGHUP end the block as Ctrl-C does, with a ``KeyboardInterrupt``.
    """
    handler = signal.getsignal(signal.SIGINT)
    ignored = handler is signal.SIG_IGN  # as for a job in the background of a shell
    if _WATCH.active or not _is_main_thread() or not (ignored or handler is signal.default_int_handler):
        yield
        return
    if not ignored:
        signal.signal(signal.SIGINT, _note)
    ending = [number for number in _ENDS if ends and signal.getsignal(number) is signal.SIG_DFL]
    for number in ending:
        signal.signal(number, _note)
    _WATCH.active, _WATCH.seen, _WATCH.number = True, False, 0
    try:
        yield
    finally:
        _WATCH.active = False
        signal.signal(signal.SIGINT, handler)
        for number in ending:
            signal.signal(number, signal.SIG_DFL)


class StopRequest:
    """A wish to stop, by Ctrl-C, SIGTERM or SIGHUP."""

    def __init__(self) -> None:
        self.since: float | None = None
        """Time of the wish on the monotonic clock, in seconds; None: nobody has asked."""
        self.number = 0
        """Number of the signal."""

    @property
    def is_urgent(self) -> bool:
        """Whether a killing follows soon, as after SIGTERM and SIGHUP; nobody hurries after Ctrl-C."""
        return self.number in _ENDS

    def raise_interrupt(self) -> NoReturn:
        """Stop now, as Ctrl-C does.

        Raises:
            KeyboardInterrupt: always.
        """
        _interrupt(self.number)


@contextmanager
def deferring_interrupts(say: Callable[[StopRequest], object]) -> Iterator[StopRequest]:
    """In this block, the first Ctrl-C, SIGTERM or SIGHUP is a request to stop, and the second one stops at once.

    Handlers of others are left alone, and so is a Ctrl-C that is ignored.

    Args:
        say: tells the user what happens, when the request comes.
    """
    request = StopRequest()
    if not _is_main_thread():
        yield request
        return

    def note(number: int, frame: FrameType | None) -> None:
        if number == request.number == _HANGUP:
            return
        if request.since is not None:
            request.raise_interrupt()
        request.since, request.number = time.monotonic(), number
        say(request)

    usual = (signal.default_int_handler, _note)
    ends = (signal.SIG_DFL, _note)
    ours = [number for number in _STOPS if signal.getsignal(number) in (ends if number in _ENDS else usual)]
    handlers = {number: signal.signal(number, note) for number in ours}
    try:
        yield request
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def interrupts_held_back() -> Iterator[None]:
    """Hold Ctrl-C, SIGTERM and SIGHUP back until the block ends, and in processes that it starts: they import in peace.

    A terminal sends Ctrl-C and SIGHUP to all processes of a command. Those that start would end with a traceback
    of an import.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ignore_interrupts() -> None:
    """Ignore Ctrl-C, SIGTERM and SIGHUP in this process, whose parent handles them; it ends with its parent.

    Any ``KeyboardInterrupt`` then comes from a model.
    """
    for number in _STOPS:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)  # what was held back is ignored
    _WATCH.active, _WATCH.seen = True, False


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _note(number: int, frame: FrameType | None) -> None:
    if number == _WATCH.number == _HANGUP:
        return
    _interrupt(number)


def _interrupt(number: int) -> NoReturn:
    _WATCH.seen, _WATCH.number = True, number
    raise KeyboardInterrupt


def _end(number: int, frame: FrameType | None) -> NoReturn:
    with suppress(OSError):  # the terminal is closed
        os.write(2, f"{stop_words(number)}\n".encode())
    os._exit(128 + number)
