"""Entry point of ``python -m robustbench_wb``."""

import logging
import os
import sys


def main() -> None:
    """Run the command line and exit with its documented code."""
    from robustbench_wb.cli.app import run_cli
    from robustbench_wb.errors import ExitCode

    try:
        code = run_cli(sys.argv[1:])
    except Exception:
        logging.getLogger(__name__).exception("internal error; please report it")
        code = int(ExitCode.CRASHED)
    if code == ExitCode.INTERRUPTED:
        # CPython remembers a Ctrl-C that arrived inside exec() (dataclasses use it) even when it was caught, and would
        # then die from the signal instead of exiting with this code.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    main()
