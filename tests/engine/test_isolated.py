"""Models that crash, hang or fill the memory: an error row each, with a process for each model or a time limit."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from robustbench_wb.api import run as harness
from robustbench_wb.cli.app import run_cli
from robustbench_wb.engine import pool_worker
from robustbench_wb.engine.plan import make_plan
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.engine.running_note import running_note
from robustbench_wb.errors import UsageError
from robustbench_wb.folders import cache_folder

MODEL = """
import ctypes, os, time
from torch import nn

class Honest(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, shape.classes))
        self.net[1].bias.data[1] += 2

    def forward(self, images):
        return self.net(images)

class Exits(Honest):
    def forward(self, images):
        levels = images.detach() * 255
        if len(images) > 2 and (levels - levels.round()).abs().max() > 0.01:  # no stored images, so an attack
            ctypes.CDLL(None)._exit(0)
        return super().forward(images)

class Crashes(Honest):
    def forward(self, images):
        ctypes.string_at(0)

class Sleeps(Honest):
    def forward(self, images):
        if len(images) > 8:
            time.sleep(1000)
        return super().forward(images)

class Stubborn(Honest):
    def forward(self, images):
        while len(images) > 8:
            try:
                time.sleep(1000)
            except BaseException:
                pass
        return super().forward(images)

class HangsInTraining(Honest):
    def forward(self, images):
        self.steps = getattr(self, "steps", 0) + self.training
        if self.steps > 2:
            ctypes.PyDLL(None).sleep(1000)  # no other thread of Python runs meanwhile
        return super().forward(images)

def sleeps_early(shape):
    time.sleep(1000)

def killed(shape):
    os.kill(os.getpid(), 9)
"""
RUN = ("--samples", "100", "--json", "--progress", "none")
Found = dict[tuple[str, str], tuple[float | None, str]]
"""Accuracy, which is None of an error, and error of each cell, by model and stressor."""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Found]:
    """Run models of the file on the command line."""
    (tmp_path / "model.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)

    def command(*models: str, options: tuple[str, ...], code: int) -> Found:
        options = options if "--recipe" in options else (*options, "--recipe", "none")
        named = [part for model in models for part in ("--variant", f"model.py:{model}")]
        capfd.readouterr()
        assert run_cli(["run", *named, *RUN, *options]) == code, capfd.readouterr().err
        rows = json.loads(capfd.readouterr().out)["rows"]
        return {(row["variant"].rpartition(":")[2], row["stressor"]): _outcome(row) for row in rows}

    return command


def _outcome(row: dict[str, Any]) -> tuple[float | None, str]:
    return (row["accuracy"] if row["status"] == "ok" else None), row["error"] or ""


@pytest.mark.slow(10)
def test_a_cell_that_takes_too_long_is_an_error_row(run: Callable[..., Found]) -> None:
    # Long enough for the honest model beside other tests: an alarm during garbage collection breaks what runs.
    options = ("--stressor", "noise-linf;eps=8/255", "--timeout", "4")
    found = run("Sleeps", "sleeps_early", "Honest", options=options, code=4)
    for model in ("Sleeps", "sleeps_early"):
        assert found[model, "clean"] == (None, f"model.py:{model}: took longer than 4 seconds (timeout)")
    assert found["Honest", "noise-linf"][1] == ""


@pytest.mark.slow(60)
def test_a_process_that_ends_is_an_error_of_its_model_alone(run: Callable[..., Found]) -> None:
    stressors = ("--stressor", "pgd-linf;eps=8/255;steps=1", "--stressor", "gaussian-noise;severity=3")
    models = ("Exits", "Crashes", "Stubborn", "killed", "Honest")
    found = run(*models, options=(*stressors, "--isolate", "--timeout", "4"), code=4)
    for model, words in {
        "Crashes": "its process was ended by SIGSEGV",
        "Stubborn": "took longer than 4 seconds (timeout), and its process was ended",
        "killed": "its process was ended by SIGKILL; the memory may have run out",
    }.items():
        assert {found[model, cell] for cell in ("clean", "pgd-linf", "gaussian-noise")} == {
            (None, f"model.py:{model}: {words}")
        }
    assert found["Exits", "pgd-linf"] == (None, "model.py:Exits: its process ended with exit code 0")
    assert found["Exits", "clean"] == found["Honest", "clean"]
    assert found["Exits", "gaussian-noise"] == found["Honest", "gaussian-noise"]
    assert run("Honest", options=stressors, code=0) == {
        key: value for key, value in found.items() if key[0] == "Honest"
    }


@pytest.mark.slow(30)
def test_a_training_that_hangs_is_ended(run: Callable[..., Found], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_worker, "START_SECONDS", 10)
    options = ("--recipe", "standard", "--stressor", "clean", "--isolate", "--timeout", "4")
    found = run("HangsInTraining", options=options, code=4)
    words = "a training step, or what followed it, took longer than 14 seconds (timeout), and its process was ended"
    assert found == {("HangsInTraining", "clean"): (None, f"model.py:HangsInTraining: {words}")}


def test_the_model_at_which_a_process_died_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    request, folder = RunRequest(variants=("model.py:make",)), cache_folder("running")
    notes = set(folder.iterdir())
    with running_note(request) as note:
        note("model.py:make\x1b[0m")
        (path,) = set(folder.iterdir()) - notes
        content = path.read_bytes()
        with running_note(request) as other:  # runs at the same time
            other("another")
        assert path.read_bytes() == content
    assert not path.exists()
    assert not caplog.messages
    path.write_bytes(content + b"\xff")
    with running_note(request.model_copy(update={"isolate": True})):
        (message,) = caplog.messages
    assert message.startswith("an earlier process of this run died while it measured model.py:make?[0m\ufffd; ")
    assert "--isolate" in message


@pytest.mark.slow(20)
def test_a_crash_shows_where_and_the_next_run_names_the_model(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(MODEL)
    command = [sys.executable, "-m", "robustbench_wb", "run", "--variant", "model.py:Crashes", "--recipe", "none"]
    for place in ("first", "second"):
        done = subprocess.run(
            [*command, "--stressor", "clean", "--samples", "20"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == -signal.SIGSEGV
        assert 'model.py", line' in done.stderr
        assert ("died while it measured model.py:Crashes" in done.stderr) == (place == "second")


def test_a_file_that_takes_too_long_to_load_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("import time\ntime.sleep(30)\n")
    with pytest.raises(UsageError, match=r"own.py.* cannot be (loaded|imported): took longer than 0.2 seconds"):
        make_plan(RunRequest(suite="clean", variants=(f"{tmp_path}/own.py:net",), recipe="none", timeout=0.2))


@pytest.mark.slow(10)
def test_an_isolated_model_keeps_its_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RBWB_CACHE_DIR", str(tmp_path / "cache"))
    fields = {"suite": "clean", "tasks": ("digits",), "variants": ("vit",), "samples": 20, "device": "cpu"}
    trained = harness.run(RunRequest.model_validate({**fields, "recipe": "standard;epochs=1"}), str(tmp_path / "one"))
    (checkpoint,) = (tmp_path / "cache" / "checkpoints").glob("*.safetensors")
    asked = RunRequest.model_validate({**fields, "checkpoint": str(checkpoint), "recipe": "none", "isolate": True})
    isolated = harness.run(asked, str(tmp_path / "two"))
    assert [row.weights for row in isolated.rows] == [row.weights for row in trained.rows]
