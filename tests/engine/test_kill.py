"""``kill -9`` in the middle, then the same command: it finishes, and the table equals that of an unbroken run."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from robustbench_wb.store.record_store import RecordStore

COMMAND = [
    *(sys.executable, "-m", "robustbench_wb", "run", "--variant", "crate", "--variant", "boosting", "--device", "cpu"),
    *("--stressor", "pgd-linf;eps=1;steps=20", "--epsilon", "4/255", "--epsilon", "8/255", "--epsilon", "16/255"),
    *("--stressor", "fgsm-l2;eps=1", "--json", "--progress", "none"),
    # Seconds of training and of attacks, so that each of the kills falls into either.
    *("--recipe", "standard;epochs=6", "--samples", "60"),
]
TIMES = ("seconds", "train_seconds", "checksum")


def start(folder: Path, cache: str = "") -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    environment = {**os.environ, "RBWB_CACHE_DIR": cache or str(folder / "cache")}
    return subprocess.Popen(
        COMMAND, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen[str]) -> list[dict[str, object]]:
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    rows: list[dict[str, object]] = json.loads(output)["rows"]
    return rows


def records(folder: Path) -> int:
    return len(list((folder / "results" / "records" / "_delta_log").glob("*.json")))


def checkpoints(folder: Path) -> int:
    return len(list((folder / "cache" / "checkpoints").glob("*.json")))


def training_for(seconds: float) -> Callable[[Path], bool]:
    begun: list[float] = []

    def reached(folder: Path) -> bool:
        if (folder / "results").exists() and not begun:
            begun.append(time.monotonic())
        return bool(begun) and time.monotonic() - begun[0] > seconds

    return reached


@pytest.mark.slow(60)
def test_killed_at_many_points_the_table_is_that_of_an_unbroken_run(tmp_path: Path, cache: str) -> None:
    unbroken, killed = tmp_path / "unbroken", tmp_path / "killed"
    expected = finish(start(unbroken, cache))  # whoever trained these subjects was not broken off, either
    points: list[Callable[[Path], bool]] = [
        training_for(0.2),
        training_for(2.0),
        lambda folder: checkpoints(folder) >= 1,
        lambda folder: records(folder) >= 2,
        lambda folder: records(folder) >= 4,
        lambda folder: records(folder) >= 6 and checkpoints(folder) == 2,
        lambda folder: records(folder) >= 8,
    ]
    for reached in points:
        process = start(killed)
        while not reached(killed) and process.poll() is None:
            time.sleep(0.01)
        assert process.poll() is None, "the process ended before it could be killed"
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert not (killed / "results" / "scores").exists(), "an unfinished run committed a version"
    found = finish(start(killed))
    without_times = [[{k: v for k, v in row.items() if k not in TIMES} for row in rows] for rows in (expected, found)]
    assert without_times[0] == without_times[1]
    keys = [str(row["key"]) for row in expected]
    ours, theirs = (RecordStore(str(folder / "results")).find(keys) for folder in (killed, unbroken))
    assert len(ours) == len(keys) == 2 * (1 + 3 + 3)
    for key in keys:
        np.testing.assert_array_equal(ours[key].states, theirs[key].states)
        np.testing.assert_array_equal(ours[key].losses, theirs[key].losses)
