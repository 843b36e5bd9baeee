"""Printing, which no other module does: tables to standard output, everything else to standard error."""

import logging
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO, cast

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from robustbench_wb.errors import UsageError
from robustbench_wb.progress import (
    Advance,
    FirstReport,
    JobForecast,
    JobProgress,
    SilentProgress,
    StageForecast,
    about_text,
)
from robustbench_wb.progress import Progress as ProgressView
from robustbench_wb.report.text_block import LINE, TextBlock, plain_text, rich_group
from robustbench_wb.text_files import is_folder, reason_of

PROGRAM = "robustbench-wb"
LINE_SECONDS = 10.0
"""Least number of seconds between two progress lines of one stage."""
WORST = "at most"
"""How the time left of a whole run is told: its plan assumes that no attack breaks a sample before its last step."""
NOT_MEASURED = "nothing measured so far"
"""What stands in place of the time left before any evaluation or training."""
TIMED_ONLY = " for the models timed so far"
"""Addition to the time left where some models can be timed only once they are built."""


def width() -> int:
    """Width of the terminal in columns; 100 in a pipe."""
    return Console().width if sys.stdout.isatty() else 100


def screen_width() -> int:
    """Width of the first screen of a command: that of the terminal; 80 in a pipe."""
    return Console().width if sys.stdout.isatty() else LINE


def program() -> str:
    """How this program is called in the user's shell: its name, its path below the working folder, or by Python."""
    beside = Path(sys.executable).with_name(PROGRAM)
    found = shutil.which(PROGRAM)
    if found is not None and Path(found).resolve() == beside.resolve():
        return PROGRAM
    if not beside.is_file():
        return f"{Path(sys.executable).name} -m robustbench_wb"
    return shlex.quote(str(beside.relative_to(Path.cwd()) if beside.is_relative_to(Path.cwd()) else beside))


def show(text: str) -> None:
    """Print plain text to standard output, unchanged."""
    with _standard_output():
        typer.echo(_encodable(text.rstrip("\n")))


@contextmanager
def _standard_output() -> Iterator[None]:
    """Write to standard output until the block ends. A reader that has closed its pipe, like ``head``, has enough.

    Raises:
        UsageError: standard output cannot be written.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        discard(sys.stdout)
    except OSError as error:
        discard(sys.stdout)
        raise UsageError(f"standard output cannot be written: {error.strerror}") from error


def discard(stream: TextIO) -> None:
    """Discard what is written to a stream from now on, and what it still holds; else Python fails at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def present(blocks: Callable[[], Sequence[TextBlock]], json: Callable[[], str], as_json: bool) -> None:
    """Print a result to standard output: as JSON, as tables on a terminal, or as plain text in a pipe."""
    if as_json:
        show(json())
    elif sys.stdout.isatty():
        with _standard_output():
            Console().print(rich_group(blocks()))
    else:
        show(plain_text(blocks()))


def save(file: str, text: str) -> None:
    """Write a result to a file, whole or not at all; devices, pipes and the targets of links are written in place.

    Raises:
        UsageError: the file cannot be written.
    """
    from robustbench_wb.exports import write_export

    if not file:
        raise UsageError("the name of the file is empty; '-' is standard output")
    with _standard_output():  # which may be the file
        pass
    try:
        write_export(Path(file), _encodable(text).encode())
    except BrokenPipeError:
        return  # the reader has enough
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} cannot be written: {reason_of(error)}") from error


def require_folder(folder: str) -> None:
    """Refuse what cannot be a folder of files, before they are made.

    Raises:
        UsageError: the name is empty, or something else has it.
    """
    if not folder.strip():
        raise UsageError("the name of the folder is empty; '.' is the current one")
    if os.path.lexists(folder) and not is_folder(Path(folder)):
        raise UsageError(f"{folder} is not a folder; name another one")


def save_files(folder: str, files: Mapping[str, bytes]) -> None:
    """Write several results into a folder, which is created; each file is written whole or not at all.

    Raises:
        UsageError: the folder or a file cannot be written.
    """
    from robustbench_wb.exports import write_export

    require_folder(folder)
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            write_export(Path(folder) / name, content)
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder} cannot be written: {reason_of(error)}") from error


def append(file: str, text: str) -> None:
    """Append text to a file that other programs write to as well.

    Raises:
        UsageError: the file cannot be written.
    """
    try:
        with Path(file).open("a", encoding="utf-8") as target:
            target.write(_encodable(text))
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} cannot be written: {reason_of(error)}") from error


def _encodable(text: str) -> str:
    """Text with escapes for what UTF-8 cannot hold: arguments of a command may be any bytes."""
    return text.encode(errors="backslashreplace").decode()


def tell(line: str) -> None:
    """Print one line to standard error; nobody hears it if that is closed."""
    try:
        typer.echo(_encodable(line), err=True)
    except OSError:
        discard(sys.stderr)


class _LastingStream:
    """A stream whose writes always succeed, as the progress bars expect: nobody sees them if a terminal is closed."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._discarding():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._discarding():
            self._stream.flush()

    @contextmanager
    def _discarding(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            discard(self._stream)


def set_log_level(name: str) -> None:
    """Send the package's log to standard error from ``name`` upward.

    Raises:
        UsageError: the level does not exist.
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
    """Progress on standard error: a live bar on a terminal, a line every few seconds in a log, or nothing.

    Raises:
        UsageError: the style does not exist.
    """
    if style == "auto":
        style = "bar" if sys.stderr.isatty() else "lines"
    if style == "bar":
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[count]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
        )
        console = Console(file=cast("TextIO", _LastingStream(sys.stderr)))
        with Progress(*columns, console=console, transient=True) as bars:
            yield _Bars(bars)
    elif style == "lines":
        yield _Lines()
    elif style == "none":
        yield SilentProgress()
    else:
        raise UsageError(f"unknown progress style {style!r}; use auto, bar, lines or none")


class _Bars:
    """Live progress bars: the whole run on top, the current stage below."""

    def __init__(self, bars: Progress) -> None:
        self.bars = bars

    @contextmanager
    def stage(self, label: str, total: int, unit: str) -> Iterator[Advance]:
        with self._bar(label, f"0/{total} {unit}") as draw:
            stage = _Stage(total)

            def advance(count: int) -> None:
                stage.add_done(count)
                draw(f"{stage.count}/{total} {unit}", stage.count / max(1, total), stage.left)

            yield advance

    @contextmanager
    def overall(self, label: str, work: float, *, partial: bool) -> Iterator[JobProgress]:
        with self._bar(label, "") as draw:
            whole = _Whole(work, lambda: draw(whole.percent, whole.share, whole.left), partial=partial)
            draw(whole.percent, whole.share, whole.left)
            yield whole

    @contextmanager
    def _bar(self, label: str, count: str) -> Iterator[Callable[[str, float, str], None]]:
        bar = self.bars.add_task(label, total=1.0, count=count, left="")
        try:
            yield lambda count, share, left: self.bars.update(bar, completed=share, count=count, left=left)
        finally:
            self.bars.remove_task(bar)


class _Lines:
    """Progress lines with a forecast, at most one every ``LINE_SECONDS`` seconds."""

    @contextmanager
    def stage(self, label: str, total: int, unit: str) -> Iterator[Advance]:
        stage, due = _Stage(total), _due()

        def advance(count: int) -> None:
            stage.add_done(count)
            if stage.pace.done and due():
                tell(f"{label}: {stage.count}/{total} {unit}, {stage.left}")

        yield advance

    @contextmanager
    def overall(self, label: str, work: float, *, partial: bool) -> Iterator[JobProgress]:
        due = _due()

        def draw() -> None:
            if due():
                tell(f"{label}: {whole.percent} done, {whole.left}")

        whole = _Whole(work, draw, partial=partial)
        yield whole


class _Stage:
    """Progress of a stage. Samples found at a resume took no time and do not count towards its pace."""

    def __init__(self, total: int) -> None:
        self.count, self.pace, self._first = 0, StageForecast(total), FirstReport()

    @property
    def left(self) -> str:
        """Remaining time in words; empty before any unit was done."""
        seconds = self.pace.seconds_left
        return "" if seconds is None else f"{about_text('about', seconds)} left"

    def add_done(self, count: int) -> None:
        if self._first.came_at_once():
            self.pace.total -= count
        else:
            self.pace.done += count
        self.count += count


class _Whole:
    """Progress of the whole run, drawn at every change; ``partial``: not all of its models are timed at its start."""

    def __init__(self, work: float, draw: Callable[[], None], *, partial: bool) -> None:
        self.pace, self._draw, self._partial = JobForecast(work), draw, partial

    def add_done(self, work: float, seconds: float) -> None:
        self.pace.done += work
        self.pace.seconds += seconds
        self._draw()

    def add_skipped(self, work: float) -> None:
        self.pace.total -= work
        self._draw()

    @property
    def share(self) -> float:
        """Share of the known work that is done."""
        if self.pace.total <= 0:
            return 0.0 if self._partial else 1.0
        return min(self.pace.done / self.pace.total, 1.0)

    @property
    def percent(self) -> str:
        """Share of the known work that is done, as text."""
        return f"{100 * self.share:.0f} %"

    @property
    def left(self) -> str:
        """Remaining time in words."""
        seconds = self.pace.seconds_left
        if seconds is None:
            return "time left unknown" if self.pace.seconds else NOT_MEASURED
        return f"{about_text(WORST, seconds)} left{TIMED_ONLY if self._partial else ''}"


def _due() -> Callable[[], bool]:
    """Function that returns True at most once every ``LINE_SECONDS`` seconds, first after that time."""
    last = time.monotonic()

    def due() -> bool:
        nonlocal last
        now = time.monotonic()
        if now - last < LINE_SECONDS:
            return False
        last = now
        return True

    return due
