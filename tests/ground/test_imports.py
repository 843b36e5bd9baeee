"""The garbage collector during imports, and what it leaves alone afterwards."""

import gc
import signal
import subprocess
import sys

import pytest

from robustbench_wb.imports import without_collection


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_off_inside_and_as_before_outside(enabled: bool) -> None:
    was_enabled = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        with without_collection():
            assert not gc.isenabled()
        assert gc.isenabled() == enabled
    finally:
        (gc.enable if was_enabled else gc.disable)()


def frozen_objects(code: str) -> int:
    """Number of objects that the collector never looks at in a new process, after some code."""
    command = [sys.executable, "-c", f"import gc\n{code}\nprint(gc.get_freeze_count())"]
    # At its end, a command sends what models print at exit to standard error.
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True)
    return int(done.stdout.split()[-1])


def test_only_processes_of_the_command_line_keep_what_they_import() -> None:
    assert frozen_objects("from robustbench_wb import HarnessError") == 0
    command = "import sys\nfrom robustbench_wb.__main__ import main\nsys.argv[1:] = ['--version']"
    assert frozen_objects(f"{command}\ntry:\n    main()\nexcept SystemExit:\n    pass") > 1000


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGTERM, 143, "ended by SIGTERM"),
        (signal.SIGHUP, 129, "ended by SIGHUP"),
    ],
)
def test_a_signal_while_the_command_is_imported_is_one_line(number: signal.Signals, code: int, words: str) -> None:
    program = (
        "import os, robustbench_wb.imports as imports\n"
        f"imports.without_collection = lambda: os.kill(os.getpid(), {int(number)})\n"
        "from robustbench_wb.__main__ import main\nmain()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        # Tests that a shell started in the background ignore Ctrl-C, and so would what they start.
        preexec_fn=lambda: [signal.signal(one, signal.SIG_DFL) for one in (signal.SIGINT, signal.SIGHUP)],
    )
    assert (done.returncode, done.stdout, done.stderr) == (code, "", f"{words}\n")
