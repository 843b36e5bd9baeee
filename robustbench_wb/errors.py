"""Error hierarchy of the package. Every error that a user can cause carries an exit code and a one-line message."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Final

CHANGES_NO_NUMBER: Final = "it words messages and exit codes"


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
    INTERRUPTED = 130


class HarnessError(Exception):
    """Base class of all errors raised on purpose. The message says in one line what is wrong and what to do."""

    exit_code = ExitCode.USAGE

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


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


class SubjectError(MeasurementError):
    """A model that cannot be built, or does not behave like a classifier."""


class DivergedError(SubjectError):
    """A training run whose loss is no longer finite."""


def first_line(error: BaseException, limit: int = 300) -> str:
    """First line of an error message, at most ``limit`` characters; the class name if the message is empty.

    Messages of libraries often continue with a page of advice.
    """
    lines = str(error).strip().splitlines()
    return lines[0][:limit] if lines else type(error).__name__


@contextmanager
def as_measurement_error(what: str) -> Iterator[None]:
    """Convert an exception raised in the block to a one-line ``MeasurementError`` that begins with ``what``.

    ``SystemExit`` is converted too: a model that ends the process has failed.

    A ``HarnessError`` passes unchanged. The original exception stays attached as the cause.
    """
    try:
        yield
    except HarnessError:
        raise
    except (Exception, SystemExit) as error:
        reason = str(error).strip().splitlines()
        raise MeasurementError(f"{what}: {type(error).__name__}: {reason[0] if reason else 'no message'}") from error
