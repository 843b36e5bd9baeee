"""A real process, killed in the middle of training: the same call goes on and ends with the same bits."""

import time
from pathlib import Path

import pytest

from tests.training.small_runs import LONG, checkpoints, run, snapshots, train_slowly, until_it_trains


@pytest.mark.slow(8)
def test_killed_and_resumed(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unbroken = run(recipe=LONG)
    broken = tmp_path / "broken"
    monkeypatch.setenv("RBWB_CACHE_DIR", str(broken))
    for _ in range(2):  # killed twice: a resumed run leaves snapshots that can be resumed
        before = snapshots(broken)
        process = train_slowly(broken)
        until_it_trains(broken, process, before)
        time.sleep(0.2)
        process.kill()
        process.communicate(timeout=30)
        assert process.returncode == -9
        assert len(checkpoints(broken, ".partial")) == 1
        assert not checkpoints(broken, ".safetensors")
    resumed = run(recipe=LONG)
    assert resumed.fresh
    assert resumed.weights == unbroken.weights
    assert not checkpoints(broken, ".partial")
