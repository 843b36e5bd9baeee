"""A small share of the session of injected faults; ``nox -s faults`` runs all of it."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest


@pytest.mark.slow(90)
def test_a_share_of_the_session_ends_well() -> None:
    command = [sys.executable, "-m", "tests.faults.session", "--faults", "8", "--seed", "7", "--jobs", "1"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 of 8 faults ended well" in done.stdout or "9 of 9 faults ended well" in done.stdout


@pytest.mark.slow(30)
def test_files_of_the_cache_that_only_another_user_may_read_are_no_obstacle() -> None:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tests.faults.other_user", folder]
        done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
