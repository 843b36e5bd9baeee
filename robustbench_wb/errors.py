"""The one error hierarchy. Every error a user can cause carries its exit code and one clear sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum


class ExitCode(IntEnum):
    """The documented exit codes of every command."""

    OK = 0
    REGRESSION = 1
    USAGE = 2
    NOT_COMPARABLE = 3
    INCOMPLETE = 4
    CREDIBILITY = 5
    CRASHED = 70
    """A mistake of the harness itself. Python would leave with 1, which is a regression."""
    INTERRUPTED = 130


class HarnessError(Exception):
    """Base of all errors raised on purpose. The message says what was wrong and what to do, in one line."""

    exit_code = ExitCode.USAGE

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class UsageError(HarnessError):
    """The request cannot be carried out as written (an option, a name, a file)."""


class UnknownNameError(UsageError):
    """A name that no registry entry has; the message suggests the nearest ones."""


class RegistryError(UsageError):
    """A duplicate name, or an entry that cannot be loaded."""


class DataError(UsageError):
    """A dataset is missing, unreadable or not what the task needs."""


class CheckpointError(UsageError):
    """A checkpoint is missing, damaged, of a refused format, or does not fit the model."""


class StoreError(UsageError):
    """The results location cannot be read or written."""


class NotComparableError(HarnessError):
    """Two tables measure different things; the message names the field that differs."""

    exit_code = ExitCode.NOT_COMPARABLE


class MeasurementError(HarnessError):
    """A cell could not be measured. It becomes an error row; other cells go on."""

    exit_code = ExitCode.INCOMPLETE


class SubjectError(MeasurementError):
    """The model under test cannot be built, or does not behave like a classifier."""


class DivergedError(SubjectError):
    """Training produced a loss that is not finite."""


def first_line(error: BaseException, limit: int = 300) -> str:
    """The first line of a library's message, which often has a page of advice after it; ``limit`` characters of it."""
    lines = str(error).strip().splitlines()
    return lines[0][:limit] if lines else type(error).__name__


@contextmanager
def one_line(what: str) -> Iterator[None]:
    """Turn whatever a model or a library raises into one clear line; the traceback goes to the debug log."""
    try:
        yield
    except HarnessError:
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise MeasurementError(f"{what}: {type(error).__name__}: {reason[0] if reason else 'no message'}") from error
