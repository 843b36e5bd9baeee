"""Benchmarks are not part of the package. Each must at least print its help."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = [
    *(
        "attack_steps.py",
        "attacks.py",
        "bare_loop.py",
        "big_table.py",
        "corruptions.py",
        "diff.py",
        "equivalence.py",
        "evidence.py",
    ),
    *(
        "executors.py",
        "findings.py",
        "gpu.py",
        "grades.py",
        "imagenet_size.py",
        "kills.py",
        "lengths.py",
        "pathfinder.py",
    ),
    *("performance.py", "pictures.py", "precision.py", "regression.py", "sequential.py", "simulated_cluster.py"),
    *("startup.py", "strong.py", "strongest.py", "until_decided.py", "variants.py"),
]
TYPED = """
import contextlib, io, json, pathlib, runpy, sys, traceback
told = {}
for script in sys.argv[1:]:
    shown, code = io.StringIO(), 0
    sys.argv, sys.path[0] = [script, "--help"], str(pathlib.Path(script).parent)
    try:
        with contextlib.redirect_stdout(shown):
            runpy.run_path(script, run_name="__main__")
    except SystemExit as left:
        code = left.code
    except Exception:
        code = traceback.format_exc()
    told[pathlib.Path(script).name] = code, shown.getvalue()
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told() -> dict[str, tuple[object, str]]:
    """Exit code and output of each script. One process runs all, since they import the same libraries."""
    scripts = [str(BENCHMARKS / script) for script in SCRIPTS]
    done = subprocess.run([sys.executable, "-c", TYPED, *scripts], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, tuple[object, str]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.slow(1)
@pytest.mark.parametrize("script", SCRIPTS)
def test_help(script: str, told: dict[str, tuple[object, str]]) -> None:
    code, shown = told[script]
    assert not code, code
    assert "--help" in shown


@pytest.mark.slow(15)
def test_workers_of_the_simulated_cluster_die_and_all_is_measured() -> None:
    small = ["--workers", "10", "--models", "2", "--cuts", "5", "--faster", "100", "--deaths", "0.1"]
    command = [sys.executable, str(BENCHMARKS / "simulated_cluster.py"), *small]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    words = done.stdout.split()
    shards, died = int(words[2]), int(words[4])
    # Clean cells, and seven ladders in five shards of each model. A shard that kills two workers is given up.
    assert 2 + 2 * 7 * 5 - died // 2 <= shards <= 2 + 2 * 7 * 5
    assert died > 0


@pytest.mark.slow(20)
def test_a_small_table_is_filled_and_read(tmp_path: Path) -> None:
    small = ["--models", "2", "--cells", "5", "--samples", "50", "--folder", str(tmp_path / "results")]
    command = [sys.executable, str(BENCHMARKS / "big_table.py"), *small]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "failed" not in done.stdout
    assert {line.partition(":")[0] for line in done.stdout.splitlines()} >= {"find", "leaderboard", "diff", "show"}
