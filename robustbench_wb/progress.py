"""Progress reports of long work. The engine reports; only the command line decides what is shown."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final, Protocol

CHANGES_NO_NUMBER: Final = "it reports how far work has come and is told results by nobody"

Advance = Callable[[int], None]
"""Callback that takes the number of units finished since the last call."""

AT_ONCE = 0.1
"""Seconds after the start of a stage within which its first report counts as work found in the cache."""
PLAN_SHARE = 0.1
"""Weight of the planned pace in the forecast of a job, as a share of the job."""


def duration_text(seconds: float | None) -> str:
    """Duration in seconds, minutes or hours; a question mark if it is unknown."""
    if seconds is None:
        return "?"
    if 0 < seconds < 1:
        return "<1 s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def about_text(words: str, seconds: float | None) -> str:
    """Duration after words like ``at most about``; below a second they are left out: ``less than 1 s``."""
    return "less than 1 s" if seconds is not None and seconds < 1 else f"{words} {duration_text(seconds)}"


class JobProgress(Protocol):
    """Receiver of the progress of a whole job, while the job runs."""

    def add_done(self, work: float, seconds: float) -> None:
        """Report that ``work`` units of the planned work have been done, in so many seconds."""
        ...

    def add_skipped(self, work: float) -> None:
        """Report that ``work`` units of the planned work are not needed: cached, or planned too high."""
        ...


class Progress(Protocol):
    """Receiver of progress reports. It cannot change a result."""

    def stage(self, label: str, total: int, unit: str) -> AbstractContextManager[Advance]:
        """Start a stage of ``total`` units, such as training (steps) or an attack (samples)."""
        ...

    def overall(self, label: str, work: float, *, partial: bool) -> AbstractContextManager[JobProgress]:
        """Start a whole job of size ``work`` in forecast seconds; ``partial``: some of it is not forecast yet."""
        ...


class HiddenJobProgress:
    """Progress of a job that is not shown."""

    def add_done(self, work: float, seconds: float) -> None:
        """Ignore the report."""

    def add_skipped(self, work: float) -> None:
        """Ignore the report."""


class SilentProgress:
    """Progress receiver that shows nothing."""

    @contextmanager
    def stage(self, label: str, total: int, unit: str) -> Iterator[Advance]:
        """Ignore a stage."""
        yield lambda count: None

    @contextmanager
    def overall(self, label: str, work: float, *, partial: bool) -> Iterator[JobProgress]:
        """Ignore the progress of a job."""
        yield HiddenJobProgress()


class JobTrackingProgress:
    """Progress receiver whose stages also advance a job: each stage is part of a planned piece of work."""

    def __init__(self, progress: Progress, whole: JobProgress) -> None:
        self._progress, self._whole = progress, whole
        self._left = 0.0

    @contextmanager
    def planned_work(self, work: float) -> Iterator[None]:
        """Count the stages in the block as ``work`` units. What they leave undone is reported as not needed."""
        self._left = work
        try:
            yield
        finally:
            self._whole.add_skipped(self._left)
            self._left = 0.0

    def plan_less(self, work: float) -> None:
        """Take work that was planned too high from the whole job; negative work adds to it."""
        self._whole.add_skipped(work)

    @contextmanager
    def stage(self, label: str, total: int, unit: str) -> Iterator[Advance]:
        """Show a stage. Its total corresponds to what is left of the current piece of work."""
        share, first, reported = self._left / max(1, total), FirstReport(), time.monotonic()
        with self._progress.stage(label, total, unit) as show:

            def advance(count: int) -> None:
                nonlocal reported
                show(count)
                work, seconds = min(share * count, self._left), time.monotonic() - reported
                self._left, reported = self._left - work, reported + seconds
                if first.came_at_once():
                    self._whole.add_skipped(work)
                elif share:  # the time of unplanned work says nothing about the planned work
                    self._whole.add_done(work, seconds)

            yield advance

    @contextmanager
    def overall(self, label: str, work: float, *, partial: bool) -> Iterator[JobProgress]:
        """Ignore a job within a job."""
        yield HiddenJobProgress()


class FirstReport:
    """Detector of cached work: a resumed stage reports it at once, within ``AT_ONCE`` seconds of its start."""

    def __init__(self) -> None:
        self._limit: float | None = time.monotonic() + AT_ONCE

    def came_at_once(self) -> bool:
        """Whether the current report is the first and came at once; called at every report."""
        limit, self._limit = self._limit, None
        return limit is not None and time.monotonic() < limit


class JobForecast:
    """Forecast of the remaining time of a job whose work is planned in seconds.

    The measured pace is the time that finished work took, divided by its forecast. The first pieces are small, and
    mostly the start of something: their pace alone would be hundreds of times too slow. Therefore the plan counts as
    ``PLAN_SHARE`` of the job, done at the planned pace.
    """

    def __init__(self, total: float) -> None:
        self.total, self.done, self.seconds = total, 0.0, 0.0

    @property
    def seconds_left(self) -> float | None:
        """Remaining seconds; None before any work was done."""
        if self.done <= 0:
            return None
        plan, left = PLAN_SHARE * max(self.total, 0.0), max(self.total - self.done, 0.0)
        return left * (self.seconds + plan) / (self.done + plan)


class StageForecast:
    """Forecast of the remaining time of a stage, from the units done and the time since its start."""

    def __init__(self, total: float) -> None:
        self.total, self.done = total, 0.0
        self._started = time.monotonic()

    @property
    def seconds_left(self) -> float | None:
        """Remaining seconds; None before any work was done."""
        if self.done <= 0:
            return None
        return (time.monotonic() - self._started) * max(self.total - self.done, 0.0) / self.done
