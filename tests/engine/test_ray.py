"""Actors of a real Ray measure the same as one process, whoever dies."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from robustbench_wb.cli.app import run_cli
from robustbench_wb.engine import ray_executor
from robustbench_wb.store.record_store import RecordStore
from tests.engine.linear_model import LINEAR

MODEL = f"""{LINEAR}
import os, signal, sys

class DeadlyOnce(Linear):
    def forward(self, images):
        died = os.path.abspath(__file__) + ".died"
        if images.requires_grad and len(images) > 8 and "default_worker" in sys.argv[0] and not os.path.exists(died):
            open(died, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(images)

def deadly_once(shape):
    return DeadlyOnce(shape)
"""
OPTIONS = ("--variant", "model.py:deadly_once", "--variant", "model.py:make", "--samples", "60", "--device", "cpu")
ATTACKS = ("--stressor", "pgd-linf;eps=1/16;steps=20", "--stressor", "gaussian-noise;severity=3")


@pytest.mark.slow(60)
def test_actors_measure_the_same_as_one_process(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(MODEL)
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
        "RBWB_SHARD_SECONDS": "0.01",
    }

    def run(place: str, *more: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "robustbench_wb", "run", *OPTIONS, *ATTACKS, *more, "--results", place]
        done = subprocess.run(
            [*command, "--progress", "none"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done

    told = run("actors", "--executor", "ray", "--workers", "2").stderr
    assert (tmp_path / "model.py.died").exists()
    assert "is measured again" in " ".join(told.split())
    run("alone", "--executor", "inline")
    ours, theirs = (RecordStore(str(tmp_path / place)) for place in ("actors", "alone"))
    assert ours.keys() == theirs.keys()
    assert len(ours.keys()) == 8  # with the examinations of both models
    others = theirs.find(theirs.keys())
    for key, record in ours.find(ours.keys()).items():
        np.testing.assert_array_equal(record.states, others[key].states)
        np.testing.assert_allclose(record.losses, others[key].losses, rtol=1e-5, atol=1e-7)
    assert not (tmp_path / "actors" / "parts").exists()


def test_without_ray_there_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(name: str) -> None:
        raise ImportError(name)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ray_executor, "import_module", refuse)
    assert run_cli(["run", "--suite", "clean", "--variant", "vit", "--recipe", "none", "--executor", "ray"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: --executor ray needs a package that is not installed; pip install")
