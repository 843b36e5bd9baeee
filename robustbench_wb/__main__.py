"""Entry point of ``python -m robustbench_wb``."""

import faulthandler
import logging
import os
import sys
from contextlib import suppress
from pathlib import Path


def main() -> None:
    """Run the command line and exit with its documented code."""
    _library_before_folder()
    from robustbench_wb.errors import ExitCode
    from robustbench_wb.imports import ImportedObjects, without_collection
    from robustbench_wb.interrupts import ending_at_once

    ImportedObjects.are_kept = True
    with ending_at_once(), without_collection():
        from robustbench_wb.cli.app import run_cli
        from robustbench_wb.cli.console import discard
        from robustbench_wb.user_code import UserCode

    # Python has no streams where the shell has closed them (>&-).
    sys.stdout, sys.stderr = (
        stream or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w") for stream in (sys.stdout, sys.stderr)
    )
    UserCode.owns_process = True
    faulthandler.enable(sys.stderr)  # a model that crashes in compiled code shows where
    try:
        code = run_cli(sys.argv[1:])
    except BaseException:
        logging.getLogger(__name__).exception("internal error; please report it")
        code = int(ExitCode.CRASHED)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # a closed pipe or a full disk; Python would try again at exit, and end with 120
            discard(stream)
    if code in (ExitCode.INTERRUPTED, ExitCode.HUNG_UP, ExitCode.TERMINATED):
        # CPython remembers a Ctrl-C that arrived inside exec() (dataclasses use it) even when it was caught, and would
        # then die from the signal instead of exiting with this code.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    with suppress(OSError):  # code that models registered for the end of the process may print
        os.dup2(2, 1)
    sys.exit(code)


def _library_before_folder() -> None:
    """Search the working folder, which ``python -m`` puts first, last: it may hold a ``numpy.py`` of a user."""
    here = Path.cwd()
    if not sys.flags.safe_path and sys.path[:1] == [str(here)] and here != Path(__file__).parents[1]:
        sys.path.append(sys.path.pop(0))


if __name__ == "__main__":
    main()
