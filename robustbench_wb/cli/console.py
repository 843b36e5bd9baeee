"""The only module that prints. Tables go to standard output, everything else to standard error."""

import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from robustbench_wb.errors import UsageError
from robustbench_wb.progress import Advance, Silent
from robustbench_wb.progress import Progress as ProgressView
from robustbench_wb.report.text import Block, plain, rich

LINE_SECONDS = 10.0
"""Least time between two progress lines of one stage."""


def width() -> int:
    """Columns of the terminal; 100 in a pipe."""
    return Console().width if sys.stdout.isatty() else 100


def show(text: str) -> None:
    """Print plain text to standard output as it is."""
    typer.echo(text.rstrip("\n"))


def present(blocks: Callable[[], Sequence[Block]], json: Callable[[], str], as_json: bool) -> None:
    """Print a result to standard output: as JSON, as tables on a terminal, or as plain text in a pipe."""
    if as_json:
        show(json())
    elif sys.stdout.isatty():
        Console().print(rich(blocks()))
    else:
        show(plain(blocks()))


def tell(line: str) -> None:
    """Print one line to standard error."""
    typer.echo(line, err=True)


def set_log_level(name: str) -> None:
    """Send the package's log to standard error from ``name`` upward.

    Raises:
        UsageError: no such level.
    """
    level = logging.getLevelNamesMapping().get(name.upper())
    if level is None:
        raise UsageError(f"unknown log level {name!r}; use debug, info, warning or error")
    handler = RichHandler(console=Console(stderr=True), show_time=False, show_path=False, rich_tracebacks=True)
    logger = logging.getLogger("robustbench_wb")
    logger.handlers = [handler]
    logger.setLevel(level)


@contextmanager
def progress_view(style: str) -> Iterator[ProgressView]:
    """A view of progress on standard error: a live bar on a terminal, lines now and then in a log, or nothing.

    Raises:
        UsageError: no such style.
    """
    if style == "auto":
        style = "bar" if sys.stderr.isatty() else "lines"
    if style == "bar":
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
            yield _Bars(bars)
    elif style == "lines":
        yield _Lines()
    elif style == "none":
        yield Silent()
    else:
        raise UsageError(f"unknown progress style {style!r}; use auto, bar, lines or none")


class _Bars:
    """Live bars: the whole job on top, the current stage below."""

    def __init__(self, bars: Progress) -> None:
        self.bars = bars

    @contextmanager
    def stage(self, label: str, total: int, unit: str) -> Iterator[Advance]:
        bar = self.bars.add_task(label, total=total, unit=unit)
        try:
            yield lambda count: self.bars.advance(bar, count)
        finally:
            self.bars.remove_task(bar)

    @contextmanager
    def overall(self, label: str, total: int) -> Iterator[Advance]:
        with self.stage(label, total, "cells") as advance:
            yield advance


class _Lines:
    """A line when something long is going on, at most every :data:`LINE_SECONDS`, with a forecast."""

    @contextmanager
    def stage(self, label: str, total: int, unit: str) -> Iterator[Advance]:
        started = last = time.monotonic()
        done = first = 0

        def advance(count: int) -> None:
            nonlocal done, first, last
            done += count
            now = time.monotonic()
            if done == count:
                first = count if now - started < 0.1 else 0  # what a resumed stage begins with took no time
            if now - last >= LINE_SECONDS and done > first:
                last = now
                left = (now - started) * (total - done) / (done - first)
                tell(f"{label}: {done}/{total} {unit}, about {left:.0f} s left")

        yield advance

    @contextmanager
    def overall(self, label: str, total: int) -> Iterator[Advance]:
        with self.stage(label, total, "cells") as advance:
            yield advance
