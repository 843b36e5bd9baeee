"""The benchmarks are no part of the package; that they start at all is checked here."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize(
    "script",
    [
        *("attacks.py", "corruptions.py", "diff.py", "lengths.py", "pathfinder.py", "precision.py", "strongest.py"),
        "variants.py",
    ],
)
def test_help(script: str) -> None:
    done = subprocess.run([sys.executable, BENCHMARKS / script, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--help" in done.stdout
