"""Note of the model that a run is measuring: if the process dies, the next run of the same request names the model."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from robustbench_wb.engine.request import RunRequest
from robustbench_wb.errors import cut_text
from robustbench_wb.folders import cache_folder
from robustbench_wb.spec import digest

_log = logging.getLogger(__name__)


@contextmanager
def running_note(request: RunRequest) -> Iterator[Callable[[str], None]]:
    """Yield a function that notes the name of a model. A note of an earlier process that died is told as a warning.

    Nothing is noted where the same request runs already, or where the cache folder cannot hold locks.
    """
    name = digest([request.model_copy(update={"isolate": False, "workers": 1}), str(Path.cwd())])
    note = cache_folder("running") / f"{name}.txt"
    lock = FileLock(cache_folder("locks") / f"running-{name}.lock", mode=0o666)
    try:
        lock.acquire(timeout=0)
    except (Timeout, OSError, NotImplementedError):
        yield lambda model: None
        return
    try:
        _tell(note)
        yield lambda model: _write(note, model)
    finally:
        with suppress(OSError):
            note.unlink(missing_ok=True)
        lock.release()


def _tell(note: Path) -> None:
    with suppress(OSError):
        _log.warning(
            "an earlier process of this run died while it measured %s; if the model crashes or fills the memory, "
            "--isolate makes an error row of it and measures the others",
            cut_text(note.read_text(encoding="utf-8", errors="replace")),
        )


def _write(note: Path, model: str) -> None:
    with suppress(OSError):
        note.write_text(model, encoding="utf-8", errors="replace")
