"""The log of a run: a file with one line of JSON for each shard, each lost worker and each evaluation."""

import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from io import TextIOBase
from pathlib import Path
from typing import Final

from robustbench_wb.engine.shard import Place, Shard
from robustbench_wb.engine.task_context import TaskContext
from robustbench_wb.errors import UsageError
from robustbench_wb.folders import cache_folder
from robustbench_wb.records.record import Measurement
from robustbench_wb.text_files import reason_of

_log = logging.getLogger(__name__)
KEPT: Final = 100
"""Number of logs that the cache folder keeps: the newest."""


class RunLog:
    """Writes what happens in a run, line by line, as soon as it happens. Every line has ``event`` and ``time`` (UTC).

    Args:
        file: where the lines go.
    """

    def __init__(self, file: TextIOBase) -> None:
        self._file: TextIOBase | None = file

    def write(self, event: str, facts: Mapping[str, object]) -> None:
        """Write a line, with fractions to three digits after the point.

        If the disk is full, a warning says so, and the run goes on without a log.
        """
        if self._file is None:
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        rounded = {name: round(fact, 3) if isinstance(fact, float) else fact for name, fact in facts.items()}
        try:
            self._file.write(json.dumps({"event": event, "time": now, **rounded}) + "\n")
            self._file.flush()
        except OSError as error:
            _log.warning("the log of the run ends here: %s", reason_of(error))
            self._file = None


@contextmanager
def open_run_log(path: str | None) -> Iterator[tuple[RunLog, str]]:
    """Open the log of a run, which a crash leaves readable up to its last line.

    Args:
        path: file that is written anew; None: a new file in the folder ``logs`` of the cache.

    Yields:
        The log and the name of its file.

    Raises:
        UsageError: the file cannot be written.
    """
    target = _new_file() if path is None else Path(path).expanduser()
    try:
        file = target.open("w", encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UsageError(f"log {target} cannot be written: {reason_of(error)}", "log") from error
    started, failure = time.monotonic(), ""
    with file:
        log = RunLog(file)
        try:
            yield log, str(target)
        except BaseException as raised:
            failure = type(raised).__name__
            raise
        finally:
            log.write("end", {"seconds": time.monotonic() - started, "error": failure})


def _new_file() -> Path:
    """A name that no other run has; the oldest logs are removed."""
    folder = cache_folder("logs")
    for old in sorted(folder.glob("*.jsonl"))[: -KEPT + 1]:
        with suppress(OSError):  # another run removes the same ones
            old.unlink()
    return folder / f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}-{os.getpid()}.jsonl"


def shard_facts(contexts: Sequence[TaskContext], shard: Shard) -> dict[str, object]:
    """What a line about a shard says: model, stressor and range of samples."""
    return {**_ladder_facts(contexts, shard.place), "first": shard.first, "stop": shard.stop}


def evaluation_facts(contexts: Sequence[TaskContext], place: Place, cell: Measurement) -> dict[str, object]:
    """What a line about a finished evaluation says: its strength, its seconds, and the error if it failed."""
    seconds = cell.record.seconds if cell.record is not None else 0.0
    label = {"evaluation": cell.cell.label, "seconds": seconds, "error": cell.error}
    return {**_ladder_facts(contexts, place), **label}


def _ladder_facts(contexts: Sequence[TaskContext], place: Place) -> dict[str, object]:
    task, subject, ladder = place
    context = contexts[task]
    return {
        "task": context.task.task.name,
        "model": context.subjects[subject].name,
        "recipe": context.run.request.recipe,
        "seed": context.run.plan.seed,
        "stressor": context.ladder(subject, ladder).rungs[0].label,
    }
