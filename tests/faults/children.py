"""Commands and functions in forked processes, which may be killed. The parent only imports what they need."""

import gc
import json
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from os import _exit as leave
from pathlib import Path
from pkgutil import walk_packages
from typing import Any, NamedTuple, NoReturn

import robustbench_wb
from robustbench_wb.__main__ import main
from robustbench_wb.engine.credibility import probe_choice as choice
from robustbench_wb.engine.credibility.image_probe import ImageProbe

LIBRARIES = ("pandas", "torch._dynamo")
"""Libraries that pyarrow and the optimisers of torch import at first use."""


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    """Exit code; negative: the signal that killed it."""
    told: str
    """What it wrote to standard error."""


def warm_up() -> None:
    """Import what the commands need, so that each fork starts at once."""
    modules = [module.name for module in walk_packages(robustbench_wb.__path__, "robustbench_wb.")]
    for name in (*modules, *LIBRARIES):
        if not name.endswith(".__main__"):
            import_module(name)
    import_module("torch").set_num_threads(1)
    # The examination of a model before it is attacked takes most of a small run.
    setattr(choice, "ImageProbe", partial(ImageProbe, looked_at=8, steps=3, queries=5))  # noqa: B010
    gc.freeze()  # a fork looks for garbage only among its own objects


def start(arguments: Sequence[str], folder: Path, limit: int | None = None) -> int:
    """Start a command in a folder, with a cache of its own there; return the id of its process.

    Args:
        arguments: the command and its options.
        folder: working folder.
        limit: largest size in bytes of a file that the command can write; None: any.
    """
    child = os.fork()
    if not child:
        _become(arguments, folder, limit)
    return child


def _become(arguments: Sequence[str], folder: Path, limit: int | None) -> NoReturn:
    told = os.open(folder / f"told-{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(told, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
    os.chdir(folder)
    os.environ["RBWB_CACHE_DIR"] = str(folder / "cache")
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    sys.argv = ["robustbench-wb", *arguments]
    _leave(main)


def _leave(function: Callable[[], object]) -> NoReturn:
    code = 99
    try:
        function()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 98
    finally:
        leave(code)


def finish(child: int, folder: Path, kill_after: float | None = None) -> Ended:
    """Wait for a command, or kill it after some seconds."""
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    told = folder / f"told-{child}"
    return Ended(os.waitstatus_to_exitcode(status), told.read_text(errors="replace") if told.exists() else "")


def command(*arguments: str, folder: Path) -> Ended:
    """Run a command to its end."""
    return finish(start(arguments, folder), folder)


def call(function: Callable[[], Any]) -> Any:
    """Result of a function that uses threads, as JSON types; None if it fails."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "result.json"
        child = os.fork()
        if not child:
            _leave(lambda: file.write_text(json.dumps(function())))
        os.waitpid(child, 0)
        return json.loads(file.read_text()) if file.exists() and file.stat().st_size else None
