"""Runs that stop when verdicts are certain, by actors of a real Ray, with baseline and results in a real bucket."""

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from robustbench_wb.api.run import run
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.store.score_table import ScoreTable
from tests.engine.means_model import write_model

STRESSORS = ("pgd-linf;eps=2/255;steps=3;restarts=1", "fgsm-l2;eps=1/4")
SAMPLES = 200


def request(folder: Path) -> RunRequest:
    return RunRequest(
        variants=(f"{folder}/model.py:make",),
        recipe="none",
        samples=SAMPLES,
        stressors=STRESSORS,
        device="cpu",
        executor="inline",
    )


def by_actors(folder: Path, results: str, baseline: str) -> "subprocess.CompletedProcess[str]":
    """The same by the command line, in short shards."""
    stressors = [word for one in STRESSORS for word in ("--stressor", one)]
    model = ["--variant", f"{folder}/model.py:make", "--recipe", "none", "--samples", str(SAMPLES), *stressors]
    place = ["--results", results, "--device", "cpu", "--progress", "none", "--executor", "ray", "--workers", "2"]
    command = [sys.executable, "-m", "robustbench_wb", "run", *model, *place]
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
        "RBWB_SHARD_SECONDS": "0.01",
    }
    rule = ["--until-decided", "--baseline", baseline, "--margin", "2"]
    return subprocess.run([*command, *rule], env=environment, capture_output=True, text=True, check=False)


def stops(rows: Iterable[ScoreRow]) -> dict[str, tuple[int, float | None, bool]]:
    """Samples used, accuracy, and whether the evaluation was stopped, for each stressor."""
    return {row.stressor: (row.n, row.accuracy, row.is_stopped) for row in rows}


@pytest.mark.slow(30)
def test_actors_stop_at_the_samples_at_which_one_process_does(bucket: str, tmp_path: Path) -> None:
    before = str(tmp_path / "before")
    write_model(tmp_path, every=1)
    for place in (before, f"{bucket}/before"):
        run(request(tmp_path), place)
    write_model(tmp_path, every=7)
    alone = run(request(tmp_path), str(tmp_path / "after"), until_decided=True, baseline=before, margin=2)
    done = by_actors(tmp_path, f"{bucket}/after", f"{bucket}/before")
    assert done.returncode == alone.exit_code, done.stderr
    found = stops(ScoreTable(f"{bucket}/after").rows())
    assert found == stops(alone.rows)
    assert any(stopped and n < SAMPLES for n, _, stopped in found.values())
