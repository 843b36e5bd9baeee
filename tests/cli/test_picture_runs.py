"""Runs on a folder of photographs through the front door, with a model of timm at its own size."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import robustbench_wb as harness
from robustbench_wb.cli.app import run_cli
from robustbench_wb.engine.batch import FEW
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.tasks.pictures import decode
from tests.tasks.test_pictures import picture

MODEL = "timm:vit_tiny_patch16_224;pretrained=false"


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    for label in range(3):
        for number in range(4):
            picture(tmp_path / "photos" / f"class{label}" / f"{number}.jpg", 10 * label + number, (300 + number, 260))
    return tmp_path / "photos"


def rows(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, tuple[str, float, list[str]]]:
    """Task, accuracy and states of the samples by stressor, of one run."""
    assert run_cli(["run", "--variant", MODEL, "--recipe", "none", "--json", *arguments]) == 0
    found = json.loads(capsys.readouterr().out)["rows"]
    return {row["signature"]: (row["task"], row["accuracy"], row["key"]) for row in found}


@pytest.mark.slow(60)
def test_batch_sizes_change_nothing_and_the_model_gives_the_size(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stressors = ("pgd-linf;eps=1/255;steps=2", "torchattacks:PGD;eps=1/255;steps=2", "gaussian-noise;severity=3")
    common = ["--task", f"folder:{photographs}", "--samples", "7"]
    common += [part for stressor in stressors for part in ("--stressor", stressor)]
    one, other = (
        rows(capsys, *common, "--batch-size", size, "--results", str(tmp_path / f"results-{size}"))
        for size in ("2", "5")
    )
    assert one == other
    assert len(one) == 4
    assert {task for task, _, _ in one.values()} == {"photos;size=224;resize=248;interpolation=bicubic"}


@pytest.mark.parametrize("before", [False, True])
def test_a_picture_that_cannot_be_decoded_leaves_no_folder(
    before: bool, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = photographs / "class0" / "0.jpg"
    cut.write_bytes(cut.read_bytes()[:-500])  # its head is whole, so that it is found out when its pixels are needed
    results = tmp_path / "new" / "results"
    if before:
        results.mkdir(parents=True)
    arguments = ["run", "--task", f"folder:{photographs}", "--variant", "vit", "--recipe", "none", "--suite", "clean"]
    assert run_cli([*arguments, "--results", str(results)]) == 2
    assert "0.jpg cannot be decoded: image file is truncated" in capsys.readouterr().err
    assert results.exists() == results.parent.exists() == before


def test_a_run_decodes_its_own_pictures_and_a_few_to_time_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(60):
        picture(tmp_path / "many" / "ab"[number % 2] / f"{number}.png", number, (20, 20))
    decoded: set[bytes] = set()
    real = decode.decode_picture

    def counted(shown: Image.Image, *rest: Any) -> Any:
        decoded.add(shown.tobytes())
        return real(shown, *rest)

    monkeypatch.setattr(decode, "decode_picture", counted)
    monkeypatch.setenv("RBWB_CACHE_DIR", str(tmp_path / "cache"))  # an earlier session may have left its pictures
    folder = f"folder:{tmp_path / 'many'}"
    harness.run(tasks=[folder], variants=["vit"], recipe="none", suite="clean", samples=4, results=str(tmp_path / "r"))
    assert 4 <= len(decoded) <= 4 + FEW


def test_balanced_samples_are_as_many_of_each_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for label, count in {"a": 12, "b": 2, "c": 3}.items():
        for number in range(count):
            picture(tmp_path / "uneven" / label / f"{number}.png", number, (16, 16))
    command = [
        "run",
        "--task",
        f"folder:{tmp_path / 'uneven'}",
        "--variant",
        "vit",
        "--recipe",
        "none",
        "--samples",
        "6",
    ]
    command += ["--suite", "clean", "--json", "--results", str(tmp_path / "r")]
    labels = np.array([0] * 12 + [1] * 2 + [2] * 3)
    found = []
    for more in ([], ["--balanced"]):
        assert run_cli([*command, *more]) == 0
        (row,) = json.loads(capsys.readouterr().out)["rows"]
        ids = RecordStore(str(tmp_path / "r")).find([row["key"]])[row["key"]].ids
        found.append(np.bincount(labels[ids], minlength=3).tolist())
    assert found[1] == [2, 2, 2]
    assert found[0] != found[1]


@pytest.mark.slow(2)
def test_training_without_a_training_split_is_refused_with_what_to_do(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request = ["run", "--task", f"folder:{photographs}", "--variant", "vit", "--results", str(tmp_path / "r")]
    assert run_cli(request) == 2
    message = capsys.readouterr().err
    assert "no pictures for training" in message
    assert "--recipe 'none'" in message
    assert not (tmp_path / "r").exists()
    harness.doctor(tasks=[f"folder:{photographs}"], variants=["vit"])  # which trains nothing
