"""The command line as a process: output, exit codes, one clear line for every mistake."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from robustbench_wb.cli.app import run_cli

MODEL = """
from torch import nn
def make(shape):
    return nn.Sequential(nn.Flatten(), nn.Linear(shape.channels * shape.height * shape.width, shape.classes))
def nan(shape):
    class Nan(nn.Module):
        def forward(self, images):
            return images.flatten(1)[:, :10] * float("nan")
    return Nan()
def raises(shape):
    raise RuntimeError("no such planet")
def wide(shape):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
"""
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def cli(tmp_path: Path, cache: str) -> Run:
    """Run the command line in an empty folder with a small model file in it."""
    (tmp_path / "model.py").write_text(MODEL)

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "robustbench_wb", *arguments],
            cwd=tmp_path,
            env={**os.environ, "RBWB_CACHE_DIR": cache, "COLUMNS": "100", **environment},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The same in this process: what a process adds is its start, which takes seconds."""
    (tmp_path / "model.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        code = run_cli(list(arguments))
        shown = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, code, shown.out, shown.err)

    return run


SMALL = ("--variant", "model.py:make", "--samples", "60", "--stressor", "pgd-linf;eps=8/255;steps=3", "--device", "cpu")


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """The only line on standard error; there must be no traceback and nothing on standard output."""
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


@pytest.mark.slow(12)
def test_from_run_to_diff_to_leaderboard(cli: Run, here: Run, tmp_path: Path) -> None:
    first = cli("run", *SMALL, RBWB_CACHE_DIR=str(tmp_path / "cache"))  # where nothing is trained yet
    assert first.returncode == 0, first.stderr
    assert "Robust accuracy (%) on digits · n = 60 · seed 0" in first.stdout
    assert "Saved v1 in results · 2 new evaluations, 0 reused · 1 model trained" in first.stderr
    assert "\x1b" not in first.stdout
    assert not set("│─╭━┃") & set(first.stdout)
    again = here("run", *SMALL, "--json")
    content = json.loads(again.stdout)
    assert content["version"] == 2
    assert [row["stressor"] for row in content["rows"]] == ["clean", "pgd-linf"]
    assert "0 new evaluations, 2 reused" in again.stderr
    same = here("diff", "v1", "v2")
    assert same.returncode == 0
    assert "nothing was compared" in same.stdout
    here("run", *SMALL, "--seed", "1")
    changed = json.loads(here("diff", "v2", "v3", "--json").stdout)
    assert len(changed["added"]) == 2
    done = here("leaderboard", "--csv", "board.csv")
    assert done.returncode == 0
    rows = list(csv.DictReader(io.StringIO((tmp_path / "board.csv").read_text())))
    assert len(rows) == 4
    assert {row["seed"] for row in rows} == {"0", "1"}
    for row in rows:
        assert float(row["low"]) <= float(row["accuracy"]) <= float(row["high"])
    assert here("leaderboard", "--csv", "-").stdout == (tmp_path / "board.csv").read_bytes().decode()
    assert {row["metric"] for row in rows} == {"accuracy"}
    assert "Ranked by Linf 8/255" in here("leaderboard").stdout
    assert "order: by Linf 8/255" in here("leaderboard", "--full").stdout
    shown = here("show", "v1", "--full")
    assert shown.returncode == 0
    assert "packages" in shown.stdout
    assert here("show", "HEAD~2", "--full").stdout == shown.stdout
    assert here("show", "latest", "--json").returncode == 0


@pytest.mark.slow(6)
def test_progress_style_and_log_level_change_nothing(cli: Run, here: Run) -> None:
    here("run", *SMALL)
    # A process of its own: the level of the log is set for the whole of one.
    again = cli("run", *SMALL, "--progress", "none", "--log-level", "debug", "--batch-size", "13")
    assert "0 new evaluations, 2 reused · 0 models trained" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "--variant", "crete"], "unknown variant 'crete'; did you mean crate"),
        (["run", "--task", "digit"], "unknown task 'digit'; did you mean digits"),
        (["run", "--suite", "adverserial"], "unknown suite 'adverserial'; did you mean adversarial"),
        (["run", "--suite", "nowhere.toml"], "does not exist"),
        (["run", "--epsilon", "-8/255"], "greater than 0"),
        (["run", "--epsilon", "much"], "not a number"),
        (["run", "--samples", "0"], "--samples"),
        (["run", "--samples", "many"], "--samples"),
        (["run", "--batch-size", "0"], "--batch-size"),
        (["run", "--workers", "0"], "--workers"),
        (["run", "--seed", "-1"], "--seed"),
        (["run", "--scale", "huge"], "--scale"),
        (["run", "--size", "huge"], "no size 'huge'"),
        (["run", "--recipe", "secret"], "unknown recipe"),
        (["run", "--recipe", "trades", "--suite", "clean", "--task", "sentences"], "task 'sentences' has none"),
        (["run", "--device", "abacus"], "abacus"),
        (["run", "--progress", "loud"], "unknown progress style"),
        (["run", "--log-level", "loud"], "unknown log level"),
        (["run", "--no-such-option"], "no-such-option"),
        (["run", "--stressor", "pgd-linf;eps=8/255;stepz=3"], "no parameter 'stepz'"),
        (["run", "--variant", "nowhere.py:make"], "does not exist"),
        (["run", "--variant", "model.py:build"], "no function 'build'"),
        (["run", "--variant", "model.py:make", "--checkpoint", "nowhere.safetensors"], "does not exist"),
        (["run", "--data-dir", "nowhere", "--task", "cifar10"], "does not exist"),
        (["show", "nothing"], "nothing is called"),
        (["show", "v7"], "no results"),
        (["show", "vit", "--stressor", "clean"], "--stressor"),
        (["show", "vit", "--version", "v1"], "--version"),
        (["strength", "vit", "--seed", "1"], "--seed"),
        (["layers", "vit", "--task", "digits", "--task", "sentences"], "one --task"),
        (["doctor", "vit", "--task", "digits", "--task", "sentences"], "one --task"),
        (["layers", "model.py:make"], "model.py:make has no layers"),
        (["diff", "v1", "v2"], "no results"),
        (["leaderboard"], "no results"),
        (["list", "things"], "unknown kind"),
        (["frobnicate"], "frobnicate"),
        (["diff", "v1"], "NEW"),
    ],
    ids=" ".join,
)
def test_a_mistake_is_one_clear_line_and_exit_code_2(
    arguments: list[str], words: str, here: Run, tmp_path: Path
) -> None:
    done = here(*arguments)
    assert done.returncode == 2
    assert words in one_line(done)
    assert not (tmp_path / "results").exists()


@pytest.mark.slow(8)
def test_a_mistake_is_the_exit_code_of_the_process(cli: Run, tmp_path: Path) -> None:
    done = cli("run", "--variant", "crete")
    assert done.returncode == 2
    assert "did you mean crate" in one_line(done)
    assert not (tmp_path / "results").exists()


def test_checkpoints_that_are_refused(here: Run, tmp_path: Path) -> None:
    command = ("run", *SMALL, "--checkpoint")
    torch.save(torch.nn.Linear(64, 10), tmp_path / "pickle.pt")
    torch.save({"epoch": 3}, tmp_path / "empty.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "pickle.pt").read_bytes()[:300])
    (tmp_path / "garbage.safetensors").write_bytes(b"not safetensors at all")
    from safetensors.torch import save_file

    save_file({"1.weight": torch.zeros(10, 64)}, tmp_path / "short.safetensors")
    save_file({"1.weight": torch.zeros(10, 63), "1.bias": torch.zeros(10)}, tmp_path / "shape.safetensors")
    for name, words in {
        "pickle.pt": "holds more than tensors and plain values",
        "empty.pt": "holds no weights at its top level or in 'state_dict'; it has: epoch",
        "cut.pt": "is not a readable torch file",
        "garbage.safetensors": "not a readable safetensors file",
        "short.safetensors": "lacks '1.bias'; the file holds '1.weight', 1 weights in all",
        "shape.safetensors": "another shape for '1.weight'",
    }.items():
        done = here(*command, name)
        assert done.returncode == 2
        assert words in one_line(done)
    assert not (tmp_path / "results" / "scores").exists()
    assert not (tmp_path / "results" / "records").exists()


@pytest.mark.parametrize(("factory", "words"), [("nan", "not finite"), ("raises", "no such planet"), ("wide", "3")])
def test_a_model_that_misbehaves_is_an_error_row_and_exit_code_4(factory: str, words: str, here: Run) -> None:
    done = here("run", "--variant", f"model.py:{factory}", *SMALL[2:])
    assert done.returncode == 4
    assert "Traceback" not in done.stderr
    assert words in done.stdout
    assert "error" in done.stdout
    assert "0 new evaluations" in done.stderr


def test_results_in_places_that_cannot_be_written(here: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("something of mine")
    done = here("run", *SMALL, "--results", "file")
    assert done.returncode == 2
    assert "file" in one_line(done)
    assert (tmp_path / "file").read_text() == "something of mine"
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(0o555)
    place = "/proc/robustbench" if os.geteuid() == 0 else str(locked)
    done = here("run", *SMALL, "--results", place)
    assert done.returncode == 2
    assert place in one_line(done)


@pytest.mark.slow(3)
def test_an_unwritable_csv_is_one_line(here: Run) -> None:
    here("run", *SMALL)
    done = here("leaderboard", "--csv", "no/such/folder/board.csv")
    assert done.returncode == 2
    assert "cannot be written" in one_line(done)


def test_not_comparable_versions_leave_with_3(here: Run) -> None:
    here("run", *SMALL)
    here("run", *SMALL[:2], "--samples", "61", *SMALL[4:])
    done = here("diff", "v1", "v2")
    assert done.returncode == 3
    assert "not comparable" in done.stdout
    assert "samples" in done.stdout


@pytest.mark.slow(3)
def test_help_gives_examples_and_exit_codes(cli: Run, here: Run) -> None:
    for command in ("run", "train", "list", "show", "diff", "leaderboard"):
        done = here(command, "--help")
        assert done.returncode == 0
        assert "Examples" in done.stdout
        assert "--results" in done.stdout
        assert "--json" in done.stdout
    assert "130" in cli("--help").stdout


@pytest.mark.slow(2)
def test_list_and_show_in_json(cli: Run, here: Run) -> None:
    listing = json.loads(cli("list", "--json").stdout)
    assert {"variants", "models", "tasks", "recipes", "stressors", "suites"} == set(listing)
    assert {"standard", "none", "pgd-at", "trades"} <= {e["name"] for e in listing["recipes"]}
    assert {"vit", "crate", "bilateral", "boosting", "bilateral-boosting"} <= {e["name"] for e in listing["variants"]}
    shown = json.loads(here("show", "bilateral", "--json").stdout)
    assert shown["variants"]["status"] == "reconstruction"
    for name in ("digits", "adversarial", "pgd-linf", "cifar10"):
        assert here("show", name).returncode == 0


@pytest.mark.slow(3)
def test_train_keeps_checkpoints(here: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RBWB_CACHE_DIR", str(tmp_path / "cache"))
    first = json.loads(here("train", "--variant", "model.py:make", "--seed", "5", "--json").stdout)
    again = json.loads(here("train", "--variant", "model.py:make", "--seed", "5", "--json").stdout)
    assert first[0]["card"]["trained"] is True
    assert again[0]["card"]["trained"] is False
    assert first[0]["card"]["weights"] == again[0]["card"]["weights"]


def test_a_suite_of_your_own(here: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'name = "mine"\nversion = 3\nsummary = "x"\n[[stressors]]\nuse = "fgsm-linf"\nstrengths = "few"\n'
        '[strengths.few]\ndefault = ["8/255", "2/255"]\n[scales.smoke]\nsamples = 50\nsize = "nano"\n'
    )
    done = here("run", "--suite", "mine.toml", "--variant", "model.py:make", "--json")
    rows = json.loads(done.stdout)["rows"]
    assert [(row["stressor"], row["strength"]) for row in rows] == [
        ("clean", ""),
        ("fgsm-linf", "2/255"),
        ("fgsm-linf", "8/255"),
    ]
    assert {(row["suite"], row["suite_version"], row["n"]) for row in rows} == {("mine", 3, 50)}
