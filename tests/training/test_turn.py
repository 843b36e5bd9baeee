"""Real processes that train the same subject at once: one does, the others find it, and a killed one is made up for."""

import time
from pathlib import Path

import pytest

from tests.training.small_runs import LONG, checkpoints, run, train_slowly, until_it_trains


@pytest.mark.slow(10)
def test_one_trains_and_the_other_waits_and_finds_it(tmp_path: Path) -> None:
    first = train_slowly(tmp_path)
    until_it_trains(tmp_path, first, {})
    second = train_slowly(tmp_path)
    (out, _), (found, heard) = first.communicate(timeout=60), second.communicate(timeout=60)
    assert out.split()[0] == "True"
    assert found.split() == ["False", out.split()[1]]
    assert "is being trained by another process; waiting for it" in heard


@pytest.mark.slow(12)
def test_the_one_that_waits_goes_on_where_a_killed_one_was(tmp_path: Path, cache: Path) -> None:
    unbroken = run(recipe=LONG)
    first = train_slowly(tmp_path)
    until_it_trains(tmp_path, first, {})
    second = train_slowly(tmp_path)
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
