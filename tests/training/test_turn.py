"""Real processes that train the same subject at once: one does, the others find it, and a killed one is made up for."""

import os
import subprocess
import sys
import time
from pathlib import Path

from small_runs import RECIPE, checkpoints, run

CODE = """
import logging
import time
import torch
import robustbench_wb.training.loop as loop
from small_runs import RECIPE, run

logging.basicConfig(level="WARNING")
loop.SNAPSHOT_SECONDS = 0.01
torch.set_num_threads(1)
step = loop._step

def slow(*arguments):
    time.sleep(0.02)
    return step(*arguments)

loop._step = slow
trained = run(recipe=RECIPE.model_copy(update={"epochs": 20}))
print(trained.fresh, trained.weights)
"""


def start(cache: Path) -> "subprocess.Popen[str]":
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "RBWB_CACHE_DIR": str(cache),
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
    }
    command = [sys.executable, "-c", CODE]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def until_it_trains(cache: Path, process: "subprocess.Popen[str]") -> None:
    end = time.monotonic() + 60
    while not checkpoints(cache, ".partial"):
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.005)


def test_one_trains_and_the_other_waits_and_finds_it(tmp_path: Path) -> None:
    first = start(tmp_path)
    until_it_trains(tmp_path, first)
    second = start(tmp_path)
    (out, _), (found, heard) = first.communicate(timeout=60), second.communicate(timeout=60)
    assert out.split()[0] == "True"
    assert found.split() == ["False", out.split()[1]]
    assert "is being trained by another process; waiting for it" in heard


def test_the_one_that_waits_goes_on_where_a_killed_one_was(tmp_path: Path, cache: Path) -> None:
    unbroken = run(recipe=RECIPE.model_copy(update={"epochs": 20}))
    first = start(tmp_path)
    until_it_trains(tmp_path, first)
    second = start(tmp_path)
    time.sleep(0.5)
    first.kill()
    first.communicate(timeout=60)
    assert checkpoints(tmp_path, ".partial")
    assert not checkpoints(tmp_path, ".safetensors")
    out, _ = second.communicate(timeout=60)
    assert out.split() == ["True", unbroken.weights]


def test_a_cache_without_locks_is_no_obstacle(cache: Path) -> None:
    """A folder stands where the lock would."""
    first = run()
    (path,) = checkpoints(cache, ".safetensors")
    path.unlink()
    lock = cache / "locks" / f"{path.stem}.lock"
    lock.unlink(missing_ok=True)
    lock.mkdir()
    again = run()
    assert again.fresh
    assert again.weights == first.weights
