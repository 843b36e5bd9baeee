"""How long work tells of itself. The engine reports; only the command line decides what a person sees."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[int], None]
"""Called with the number of units finished since the last call."""

AT_ONCE = 0.1
"""Seconds: what a stage reports first, so soon after its start, was found, not done."""


class Whole(Protocol):
    """The whole job, while it goes on."""

    def did(self, work: float) -> None:
        """So much of the planned work has been done."""
        ...

    def spared(self, work: float) -> None:
        """So much of the planned work need not be done: it was found, or turned out to be less."""
        ...


class Progress(Protocol):
    """Receives progress; shows it or not. It can never change a result."""

    def stage(self, label: str, total: int, unit: str) -> AbstractContextManager[Advance]:
        """A piece of work of known size, like training (steps) or one attack (samples)."""
        ...

    def overall(self, label: str, work: float) -> AbstractContextManager[Whole]:
        """The whole job, in any unit of work that is proportional to time."""
        ...


class Nothing:
    """A whole that nobody looks at."""

    def did(self, work: float) -> None:
        """Swallow it."""

    def spared(self, work: float) -> None:
        """Swallow it."""


class Silent:
    """Shows nothing."""

    @contextmanager
    def stage(self, label: str, total: int, unit: str) -> Iterator[Advance]:
        """Swallow a stage."""
        yield lambda count: None

    @contextmanager
    def overall(self, label: str, work: float) -> Iterator[Whole]:
        """Swallow the whole."""
        yield Nothing()


class Tied:
    """Progress whose stages also advance the whole: what they do is a piece of planned work."""

    def __init__(self, progress: Progress, whole: Whole) -> None:
        self._progress, self._whole = progress, whole
        self._left = 0.0

    @contextmanager
    def piece(self, work: float) -> Iterator[None]:
        """The stages within are that much work. What they leave of it need not be done."""
        self._left = work
        try:
            yield
        finally:
            self._whole.spared(self._left)
            self._left = 0.0

    @contextmanager
    def stage(self, label: str, total: int, unit: str) -> Iterator[Advance]:
        """Show a stage; all of it is what is left of the piece."""
        share, first = self._left / max(1, total), First()
        with self._progress.stage(label, total, unit) as show:

            def advance(count: int) -> None:
                show(count)
                work = min(share * count, self._left)
                self._left -= work
                (self._whole.spared if first.found() else self._whole.did)(work)

            yield advance

    @contextmanager
    def overall(self, label: str, work: float) -> Iterator[Whole]:
        """A whole within a whole is not shown."""
        yield Nothing()


class First:
    """Tells the first report of a stage when it comes at once: what a resumed stage begins with was found, not done."""

    def __init__(self) -> None:
        self._limit: float | None = time.monotonic() + AT_ONCE

    def found(self) -> bool:
        """Asked at every report."""
        limit, self._limit = self._limit, None
        return limit is not None and time.monotonic() < limit


class Pace:
    """Forecasts the time that is left, from the work done and the time that it took."""

    def __init__(self, total: float) -> None:
        self.total, self.done = total, 0.0
        self._started = time.monotonic()

    @property
    def left(self) -> float | None:
        """Seconds; None before anything was done."""
        if self.done <= 0:
            return None
        return (time.monotonic() - self._started) * max(self.total - self.done, 0.0) / self.done
