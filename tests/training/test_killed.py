"""A real process, killed in the middle of training: the same call goes on and ends with the same bits."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_runs import RECIPE, checkpoints, run

CODE = """
import time
import torch
import robustbench_wb.training.loop as loop
from small_runs import RECIPE, run

loop.SNAPSHOT_SECONDS = 0.01
torch.set_num_threads(1)
step = loop._step

def slow(*arguments):
    time.sleep(0.02)
    return step(*arguments)

loop._step = slow
run(recipe=RECIPE.model_copy(update={"epochs": 20}))
"""


def test_killed_and_resumed(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = RECIPE.model_copy(update={"epochs": 20})
    unbroken = run(recipe=recipe)
    broken = tmp_path / "broken"
    monkeypatch.setenv("RBWB_CACHE_DIR", str(broken))
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
    }
    for _ in range(2):  # killed twice: a resumed run leaves snapshots that can be resumed
        process = subprocess.Popen([sys.executable, "-c", CODE], env=environment, stderr=subprocess.PIPE, text=True)
        seen = {path: path.stat().st_mtime_ns for path in checkpoints(broken, ".partial")}
        end = time.monotonic() + 60
        while {path: path.stat().st_mtime_ns for path in checkpoints(broken, ".partial")} == seen:
            assert process.poll() is None, process.stderr and process.stderr.read()
            assert time.monotonic() < end
            time.sleep(0.005)
        time.sleep(0.2)
        process.kill()
        process.communicate(timeout=30)
        assert process.returncode == -9
        assert len(checkpoints(broken, ".partial")) == 1
        assert not checkpoints(broken, ".safetensors")
    resumed = run(recipe=recipe)
    assert resumed.fresh
    assert resumed.weights == unbroken.weights
    assert not checkpoints(broken, ".partial")
