"""Signals that end a command: one line, an exit code of its own, and nothing half written."""

import fcntl
import os
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from robustbench_wb.interrupts import watching_interrupts

COMMAND = (
    *(sys.executable, "-m", "robustbench_wb", "run", "--variant", "boosting"),
    *("--seed", "77", "--device", "cpu", "--workers", "1"),
)


@pytest.fixture
def usual_hangup() -> Iterator[None]:
    """SIGHUP ends a process, as in a terminal; ``nohup`` starts commands without it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def environment(cache: str) -> dict[str, str]:
    """Without coverage: Ctrl-C while its tracer holds a lock of its own leaves the process waiting for itself."""
    uncovered = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_PROCESS")}
    return {**uncovered, "RBWB_CACHE_DIR": cache}


def usual_signals() -> None:
    """Tests that a shell started in the background ignore Ctrl-C, and so would what they start."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.slow(12)
@pytest.mark.parametrize(
    ("number", "code", "words"),
    [
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGTERM, 143, "ended by SIGTERM"),
        (signal.SIGHUP, 129, "ended by SIGHUP"),
    ],
)
def test_a_signal_ends_one_process_with_one_line(
    number: signal.Signals, code: int, words: str, tmp_path: Path, cache: str
) -> None:
    process = subprocess.Popen(
        COMMAND,
        cwd=tmp_path,
        env=environment(cache),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=usual_signals,
    )
    while not (tmp_path / "results").exists():
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(number)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == code, errors
    assert errors.strip().splitlines()[-1] == f"{words}; what was finished is saved: run the same command to resume"
    assert "Traceback" not in errors


@pytest.mark.slow(12)
def test_a_run_ends_with_its_terminal(tmp_path: Path) -> None:
    ours, theirs = os.openpty()

    def own_terminal() -> None:
        usual_signals()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        COMMAND,
        cwd=tmp_path,
        env=environment(str(tmp_path / "cache")),  # where the model is not trained yet
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=own_terminal,
    )
    os.close(theirs)
    shown = b""
    while b"train boosting" not in shown:  # the bars are drawn until the end
        shown += os.read(ours, 4096)
    os.close(ours)
    assert process.wait(timeout=300) == 129
    assert not (tmp_path / "results" / "scores").exists()


@pytest.mark.usefixtures("usual_hangup")
def test_a_terminal_that_closes_interrupts_once() -> None:
    with watching_interrupts(ends=True):
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGHUP)  # one comes from the system, one from the shell
