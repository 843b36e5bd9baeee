"""``import-checkpoint``, as a process and in this one, and what ``run`` makes of its file."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from robustbench_wb.cli.app import run_cli
from robustbench_wb.models.build import build
from robustbench_wb.models.catalogue import VARIANTS
from robustbench_wb.models.references.load import to_reference
from robustbench_wb.models.shape import ImageShape

Run = Callable[..., subprocess.CompletedProcess[str]]
DIGITS = ImageShape(channels=1, height=8, width=8, classes=10, patch=2)
MOMENTS = ("--mean", "0.3", "--std", "0.35")
CRATE = ("--variant", "crate", "--size", "nano", *MOMENTS, "--pool", "cls", "--output", "out.safetensors")
MAE = ("--variant", "crate-mae", "--size", "nano", *MOMENTS, "--pool", "cls", "--output", "out.safetensors")


@pytest.fixture
def cli(tmp_path: Path, cache: str) -> Run:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "robustbench_wb", *arguments],
            cwd=tmp_path,
            env={**os.environ, "RBWB_CACHE_DIR": cache, "COLUMNS": "100"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The same in this process: what a process adds is its start, which takes seconds."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        code = run_cli([*arguments])
        shown = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, code, shown.out, shown.err)

    return run


@pytest.fixture(scope="module")
def theirs() -> dict[str, Tensor]:
    model = build(VARIANTS.get("crate"), "nano", DIGITS, mean=[0.3], std=[0.35], seed=3)
    return {name: tensor.clone() for name, tensor in to_reference(model, "crate").items()}


def refused(done: subprocess.CompletedProcess[str], words: str, folder: Path) -> None:
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert words in lines[0]
    assert not (folder / "out.safetensors").exists()


@pytest.mark.slow(3)
def test_an_imported_file_runs(cli: Run, here: Run, tmp_path: Path, theirs: dict[str, Tensor]) -> None:
    prefixed = {f"module.{name}": tensor for name, tensor in theirs.items()}
    # As the training scripts write them: parsed options and an optimiser's state beside the weights.
    whole = {"epoch": 3, "state_dict": prefixed, "args": argparse.Namespace(lr=0.1), "optimizer": {"state": {}}}
    torch.save(whole, tmp_path / "checkpoint.pth.tar")
    done = cli("import-checkpoint", "checkpoint.pth.tar", *CRATE, "--lambda", "0.25", "--json")
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    assert content["constants"] == {"eta": 0.1, "lambda": 0.25}
    assert (content["mean"], content["std"], content["fresh"], content["unused"]) == ([0.3], [0.35], [], [])
    assert content["shape"] == DIGITS.model_dump()
    tensors = load_file(tmp_path / "out.safetensors")
    assert tensors["backbone.blocks.3.feedforward._extra_state"].tolist() == [0.1, 0.25]
    assert torch.equal(tensors["embedding.cls"], theirs["cls_token"])
    save_file(theirs, tmp_path / "plain.safetensors")
    plain = here("import-checkpoint", "plain.safetensors", *CRATE, "--lambda", "0.25")
    assert plain.returncode == 0, plain.stderr
    assert content["weights"][:12] in plain.stdout
    assert "lambda: 0.25" in plain.stdout
    run = here("run", "--suite", "clean", "--variant", "crate", "--samples", "20", "--checkpoint", "out.safetensors",
               "--device", "cpu", "--json")  # fmt: skip
    assert run.returncode == 0, run.stderr
    (row,) = json.loads(run.stdout)["rows"]
    assert (row["status"], row["recipe"], row["n"]) == ("ok", "checkpoint", 20)
    assert row["weights"] == content["weights"]


def test_checkpoints_that_are_refused(here: Run, tmp_path: Path, theirs: dict[str, Tensor]) -> None:
    def attempt(state: object, words: str, *options: str) -> None:
        torch.save(state, tmp_path / "file.pth")
        refused(here("import-checkpoint", "file.pth", *(options or CRATE)), words, tmp_path)

    attempt({name: t for name, t in theirs.items() if name != "cls_token"}, "lacks cls_token")
    attempt({**theirs, "head.weight": torch.zeros(1)}, "has unknown head.weight")
    shallow = {name: t for name, t in theirs.items() if ".layers.3." not in name}
    attempt(shallow, "transformer.layers.3.0.fn.qkv.weight")
    attempt([1, 2], "holds a list")
    tiny = ("--variant", "crate", "--size", "tiny", *MOMENTS, "--pool", "cls", "--output", "out.safetensors")
    attempt(theirs, "transformer.layers.10.", *tiny)
    wrong = {**theirs, "mlp_head.1.weight": torch.zeros(7, 64)}
    attempt(wrong, "mlp_head.1.bias (10,) in the reference checkpoint gives shape (10,); this model needs (7,)")


class Trap:
    """Makes a file when it is loaded."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("sprung",)


@pytest.mark.slow(2)
def test_code_in_a_pickle_is_never_run(cli: Run, here: Run, tmp_path: Path, theirs: dict[str, Tensor]) -> None:
    torch.save({"state_dict": theirs, "trap": Trap()}, tmp_path / "trap.pth")
    refused(cli("import-checkpoint", "trap.pth", *CRATE), "could run code", tmp_path)
    assert not (tmp_path / "sprung").exists()
    (tmp_path / "cut.pth").write_bytes((tmp_path / "trap.pth").read_bytes()[:500])
    refused(here("import-checkpoint", "cut.pth", *CRATE), "not a readable torch file", tmp_path)


def test_an_encoder_needs_its_lambda_and_a_number_of_classes(here: Run, tmp_path: Path) -> None:
    model = build(VARIANTS.get("crate-mae"), "nano", DIGITS, mean=[0.3], std=[0.35], seed=3)
    state = {name: t for name, t in to_reference(model, "crate-mae").items() if not name.startswith("head.")}
    torch.save({"model": {**state, "pos_embed": torch.zeros(1, 17, 64)}}, tmp_path / "mae.pth")
    refused(here("import-checkpoint", "mae.pth", *MAE, "--classes", "10"), "give --lambda", tmp_path)
    refused(here("import-checkpoint", "mae.pth", *MAE, "--lambda", "5"), "give the number of classes", tmp_path)
    done = here("import-checkpoint", "mae.pth", *MAE, "--lambda", "5", "--classes", "10", "--json")
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    assert content["constants"] == {"eta": 0.1, "lambda": 5.0}
    assert content["fresh"] == ["head.linear.bias", "head.linear.weight"]
    assert content["unused"] == ["pos_embed"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--variant", "crate", "--size", "nano"], "give mean and std"),
        (["--variant", "crate", "--size", "nano", "--mean", "0.3"], "give both mean and std, or neither"),
        (["--variant", "crate", "--size", "nano", "--mean", "a,b"], "one number per channel"),
        (["--variant", "crate", "--size", "nano", *MOMENTS, "--image", "8"], "--image 8"),
        (["--variant", "crate", "--size", "nano", *MOMENTS, "--lambda", "-1"], "lambda must be above zero"),
        (["--variant", "crate", "--size", "nan", *MOMENTS], "no size 'nan'"),
        (["--variant", "crete", "--size", "nano", *MOMENTS], "did you mean crate"),
        (["--variant", "boosting", "--size", "nano", *MOMENTS], "no reference checkpoints are known"),
        (["--variant", "vit", "--size", "nano", *MOMENTS, "--eta", "0.1"], "has no eta"),
        (["--variant", "vit", "--size", "nano", *MOMENTS], "lacks pos_embed"),
        (["--variant", "crate", "--size", "nano", *MOMENTS], "does not carry its pooling; give --pool cls if"),
        (["--variant", "crate", "--size", "nano", *MOMENTS, "--pool", "mean"], "mean pooling cannot be imported"),
        (["--variant", "crate", "--size", "nano", *MOMENTS, "--pool", "avg"], "--pool avg: write cls"),
    ],
)
def test_options_that_do_not_fit(
    options: list[str],
    words: str,
    tmp_path: Path,
    theirs: dict[str, Tensor],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save_file(theirs, tmp_path / "file")
    monkeypatch.chdir(tmp_path)
    code = run_cli(["import-checkpoint", "file", *options, "--output", "out.safetensors"])
    output = capsys.readouterr()
    refused(subprocess.CompletedProcess([], code, output.out, output.err), words, tmp_path)


def test_files_that_are_not_there(here: Run, tmp_path: Path, theirs: dict[str, Tensor]) -> None:
    refused(here("import-checkpoint", "nowhere", *CRATE), "does not exist", tmp_path)
    save_file(theirs, tmp_path / "file")
    refused(here("import-checkpoint", "file", *CRATE[:-1], "no/folder/out"), "cannot be written", tmp_path)
    same = here("import-checkpoint", "file", *CRATE[:-1], "file")
    refused(same, "choose another output", tmp_path)
    assert "Examples" in here("import-checkpoint", "--help").stdout
