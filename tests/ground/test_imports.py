"""The garbage collector during imports, and what it leaves alone afterwards."""

import gc
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


def test_ctrl_c_while_the_command_is_imported_is_one_word() -> None:
    code = (
        "import robustbench_wb.imports as imports\n"
        "def stop():\n    raise KeyboardInterrupt\n"
        "imports.without_collection = stop\n"
        "from robustbench_wb.__main__ import main\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")
