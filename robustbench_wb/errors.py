"""Error hierarchy of the package. Every error that a user can cause carries an exit code and a one-line message."""

import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import IntEnum
from typing import Final

from robustbench_wb.interrupts import OutOfTimeError, is_interrupt

CHANGES_NO_NUMBER: Final = "it words messages and exit codes"


MESSAGE_LENGTH: Final = 500
"""Most characters of the message of a failed evaluation, which is stored in a row."""


class ExitCode(IntEnum):
    """Exit codes of all commands, as documented."""

    OK = 0
    REGRESSION = 1
    USAGE = 2
    NOT_COMPARABLE = 3
    INCOMPLETE = 4
    CREDIBILITY = 5
    CRASHED = 70
    """A bug in the harness itself. Python's own exit code for it is 1, which here means a regression."""
    HUNG_UP = 129
    """Ended by SIGHUP, as when its terminal is closed: 128 and its number."""
    INTERRUPTED = 130
    """Ctrl-C: 128 and the number of SIGINT, as shells count."""
    TERMINATED = 143
    """Ended by SIGTERM: 128 and its number."""


class HarnessError(Exception):
    """Base class of all errors raised on purpose. The message says in one line what is wrong and what to do."""

    exit_code = ExitCode.USAGE

    def __init__(self, message: str) -> None:
        super().__init__(clean_text(message))


class UsageError(HarnessError):
    """Request that cannot be carried out as written: a wrong parameter, name or file.

    ``parameters`` are the names of the Python parameters in the message; the command line shows them as options.
    """

    def __init__(self, message: str, *parameters: str) -> None:
        super().__init__(message)
        self.parameters = parameters


class UnknownNameError(UsageError):
    """A name that is not registered; the message suggests similar names."""


class RegistryError(UsageError):
    """A name registered twice, or an entry that cannot be loaded."""


class DataError(UsageError):
    """A dataset that is missing, unreadable or unsuitable for the task."""


class CheckpointError(UsageError):
    """A checkpoint that is missing, damaged, in an unsupported format, or does not fit the model."""


class StoreError(UsageError):
    """A results location that cannot be read or written."""


class NotComparableError(HarnessError):
    """Two tables that measure different things; the message names the differing field."""

    exit_code = ExitCode.NOT_COMPARABLE


class MeasurementError(HarnessError):
    """A failed evaluation. It becomes an error row, and the other evaluations continue."""

    exit_code = ExitCode.INCOMPLETE

    def __init__(self, message: str) -> None:
        super().__init__(cut_text(message))


class SubjectError(MeasurementError):
    """A model that cannot be built, or does not behave like a classifier."""


class DivergedError(SubjectError):
    """A training run whose loss is no longer finite."""


def clean_text(text: str) -> str:
    """Text on one line, without control characters, invisible formatting and lone surrogates (a ``?`` each)."""
    line = " ".join(text.split())
    if line.isascii() and line.isprintable():
        return line
    return "".join("?" if unicodedata.category(letter) in ("Cc", "Cf", "Cs") else letter for letter in line)


def cut_text(text: str, limit: int = MESSAGE_LENGTH) -> str:
    """Clean text of at most ``limit`` characters; ``...`` ends a text that was longer."""
    line = clean_text(text[: 4 * limit])
    return line if len(line) <= limit and len(text) <= 4 * limit else f"{line[: limit - 3]}..."


def first_line(error: BaseException, limit: int = 300) -> str:
    """First line of an error message, at most ``limit`` characters; the class name if there is no message.

    Messages of libraries often continue with a page of advice.
    """
    lines = _text(error).strip().splitlines()
    return cut_text(lines[0], limit) if lines else type(error).__name__


def whole_text(error: BaseException) -> str:
    """All lines of an error message as one, at most ``MESSAGE_LENGTH`` characters."""
    return cut_text(_text(error)) or "no message"


def _text(error: BaseException) -> str:
    with suppress(Exception):  # an exception of a user may have a broken text
        return str(error)
    return ""


def error_text(error: BaseException) -> str:
    """Class and first line of an error: ``ValueError: no such layer``."""
    if isinstance(error, OutOfTimeError):
        return str(error)
    kind, line = type(error).__name__, first_line(error, MESSAGE_LENGTH)
    return f"{kind}: {'no message' if line == kind else line}"


def name_origin(error: BaseException, name: str) -> None:
    """Note which code of the user raised an error, unless this is known."""
    if getattr(error, _ORIGIN, None) is None:
        with suppress(AttributeError, TypeError):  # a class without a dictionary
            setattr(error, _ORIGIN, name)


_ORIGIN: Final = "_robustbench_wb_origin"


@contextmanager
def as_measurement_error(what: str) -> Iterator[None]:
    """Convert whatever is raised in the block to a one-line ``MeasurementError``, except Ctrl-C.

    The message begins with the code of the user that raised, or with ``what`` if none is known. A model that ends the
    process (``SystemExit``) has failed, too. A ``HarnessError`` passes unchanged. The original exception stays attached
    as the cause.
    """
    try:
        yield
    except HarnessError:
        raise
    except BaseException as error:
        if is_interrupt(error):
            raise
        raise MeasurementError(f"{getattr(error, _ORIGIN, what)}: {error_text(error)}") from error
