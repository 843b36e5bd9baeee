"""The gate of this project on itself: open for today's code, closed for a variant that is broken on purpose."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RIGHT, WRONG = "2 * v - once", "2 * once - v"
"""What twicing attention averages in its second pass, and a mistake of sign."""


def gate(folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, "benchmarks/regression.py", "--results", "results/kept"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow(20)
def test_a_variant_that_is_broken_on_purpose_closes_the_gate(tmp_path: Path, cache: str) -> None:
    for part in ("robustbench_wb", "benchmarks", "results/regression"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    measured = Path(cache) / "gate" / "records"  # by `nox -s gate` with the same cache, if it ran before
    if measured.exists():
        shutil.copytree(measured, tmp_path / "results" / "kept" / "records")
    done = gate(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    broken = tmp_path / "robustbench_wb" / "models" / "attention" / "twicing.py"
    code = broken.read_text()
    assert RIGHT in code
    broken.write_text(code.replace(RIGHT, WRONG))  # which no other variant uses, so that theirs are reused
    done = gate(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "regressed" in done.stdout
    assert "twicing" in done.stdout
    assert "elliptical" not in done.stdout
