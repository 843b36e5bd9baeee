"""The log of a run, and the commands that repeat what failed."""

import os
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from robustbench_wb.api import run as harness
from robustbench_wb.cli.app import app
from robustbench_wb.engine import run_log
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.errors import ExitCode, UsageError
from tests.engine.linear_model import LINEAR
from tests.engine.logged import events

MODELS = f"""{LINEAR}
import os

class Moody(Linear):
    def forward(self, images):
        # Not when the model is timed, on eight images.
        if images.requires_grad and len(images) != 8 and "RBWB_TEST_MOODY" in os.environ:
            raise ValueError("not today")
        return super().forward(images)

def moody(shape):
    return Moody(shape)
"""
SUITE = """
name = "sweep"
version = 1
summary = "A sweep that fails and is repeated"

[[stressors]]
use = "pgd-linf;steps=3"
strengths = "radii"

[[stressors]]
use = "gaussian-noise;severity=1"

[strengths.radii]
default = ["1/255", "4/255"]

[scales.smoke]
samples = 40
size = "nano"
"""


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    path = tmp_path / "model.py"
    path.write_text(MODELS)
    monkeypatch.setenv("RBWB_TEST_MOODY", "1")
    return f"{path}:moody"


def request(model: str) -> RunRequest:
    stressors = ("pgd-linf;eps=4/255;steps=3", "fgsm-l2;eps=1")
    return RunRequest(variants=(model,), stressors=stressors, samples=40, recipe="none", device="cpu")


def test_the_log_has_every_shard_and_every_evaluation(model: str, tmp_path: Path) -> None:
    log = str(tmp_path / "log.jsonl")
    found = harness.run(request(model), str(tmp_path / "results"), log=log)
    assert found.log == log
    (begun,), (end,) = events(log, "run"), events(log, "end")
    assert begun["executor"] == "this process"
    assert end["error"] == ""
    shards = [(shard["stressor"], shard["first"], shard["stop"]) for shard in events(log, "shard")]
    assert shards == [(name, 0, 40) for name in ("clean", "credibility-probe", "pgd-linf", "fgsm-l2")]
    done = {str(line["evaluation"]): line["error"] for line in events(log, "evaluation")}
    rows = {f"{row.stressor}@{row.strength}" if row.strength else row.stressor: row.error for row in found.rows}
    ends = {name.rpartition(" ")[2]: error for name, error in done.items()}
    assert {name: ends[name] for name in rows} == rows


def test_a_finished_evaluation_is_not_logged_again(tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RBWB_TEST_MOODY")
    place = str(tmp_path / "results")
    first, second = (harness.run(request(model), place) for _ in range(2))
    assert len(events(first.log, "evaluation")) == 4
    assert events(second.log, "evaluation") == []
    assert Path(first.log).parent == Path(os.environ["RBWB_CACHE_DIR"]) / "logs"


def test_only_the_newest_logs_are_kept(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RBWB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(run_log, "KEPT", 3)
    names = []
    for _ in range(5):
        with run_log.open_run_log(None) as (_, name):
            names.append(name)
    assert sorted(map(str, (tmp_path / "cache" / "logs").iterdir())) == names[2:]


def test_a_crash_leaves_a_readable_log(tmp_path: Path) -> None:
    name = str(tmp_path / "log.jsonl")

    def crash() -> None:
        with run_log.open_run_log(name) as (log, _):
            log.write("shard", {"first": 0})
            assert [line["first"] for line in events(name, "shard")] == [0]  # written at once
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        crash()
    assert [line["error"] for line in events(name, "end")] == ["ZeroDivisionError"]


def test_a_log_that_cannot_be_written_is_refused_before_any_work(model: str, tmp_path: Path) -> None:
    place = tmp_path / "results"
    with pytest.raises(UsageError, match=r"^log .* cannot be written: Is a directory$"):
        harness.run(request(model), str(place), log=str(tmp_path))
    assert not list(place.glob("*/_delta_log"))


def test_what_failed_is_repeated_by_the_command_that_is_printed(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, suite = str(tmp_path / "results"), tmp_path / "sweep.toml"
    suite.write_text(SUITE)
    options = ["--recipe", "none", "--samples", "40", "--device", "cpu", "--progress", "none", "--results", place]
    command = ["run", "--suite", str(suite), "--variant", model, *options]
    failed = CliRunner().invoke(app, command)
    assert failed.exit_code == ExitCode.INCOMPLETE
    assert "pgd-linf@1/255 and 1 other strength: " in failed.output
    lines = [line.strip() for line in failed.output.splitlines()]
    (printed,) = [shlex.split(line) for line in lines if "robustbench" in line and " run " in line]
    monkeypatch.delenv("RBWB_TEST_MOODY")
    again = CliRunner().invoke(app, printed[printed.index("run") :])
    assert again.exit_code == ExitCode.OK, again.output
    assert "2 new evaluations, 1 reused" in again.output
    whole = CliRunner().invoke(app, command)
    assert whole.exit_code == ExitCode.OK
    assert "0 new evaluations, 4 reused" in whole.output
