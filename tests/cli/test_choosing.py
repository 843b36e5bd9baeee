"""docs/subjects.md, typed: models of both libraries and of this package on a folder of pictures, compared and gated."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from robustbench_wb.models.providers import library
from tests.tasks.test_pictures import picture

PAGE = (Path(__file__).parents[2] / "docs" / "subjects.md").read_text(encoding="utf-8")
FAST = ("--recipe", "none", "--device", "cpu", "--progress", "none", "--stressor", "gaussian-noise;severity=1")
Typed = Callable[..., tuple[str, str]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pictures, most of them cats; a model of timm; and one of transformers, which sees only cats."""
    monkeypatch.chdir(tmp_path)
    for number in range(26):
        label = "cat" if number < 22 else "dog"
        for split in ("train", "val"):
            picture(tmp_path / "photos" / split / label / f"{number}.png", number, (20, 20))
    timm, transformers = library.load_library("timm", "timm"), library.load_library("transformers", "hf")
    torch.manual_seed(0)
    model = timm.create_model(
        "test_vit", num_classes=2, img_size=16, pretrained_cfg_overlay={"input_size": (3, 16, 16)}
    )
    timm.models.save_for_hf(model, tmp_path / "my-timm", safe_serialization=True)
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=16, patch_size=8,
        num_labels=2,
    )  # fmt: skip
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path / "my-vit")
    transformers.ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(tmp_path / "my-vit")
    answer(tmp_path, [9.0, -9.0])
    return tmp_path


def answer(folder: Path, bias: list[float]) -> None:
    """Make my-vit give one answer to every picture."""
    file = folder / "my-vit" / "model.safetensors"
    weights = load_file(file)
    save_file({**weights, "classifier.bias": torch.tensor(bias)}, file, {"format": "pt"})


@pytest.mark.slow(60)
def test_the_commands_of_the_page(typed: Typed, folder: Path) -> None:
    section = PAGE.partition("## Choose between models")[2].partition("\n## ")[0]
    before, after = (block.splitlines() for block in re.findall(r"```bash\n(.*?)```", section, flags=re.S))
    assert len(before) + len(after) == 9
    assert before.pop(0).startswith("pip install ")

    def type_all(lines: list[str], gate: int) -> str:
        told: list[str] = []
        for line in lines:
            program, name, *arguments = shlex.split(line)
            assert program == "robustbench-wb"
            fast = FAST if name == "run" else ()
            told += typed(name, *arguments, *fast, code=gate if name == "gate" else 0)
        return "".join(told)

    assert "no change: 6 of 6 records identical" in type_all(before, gate=0)
    answer(folder, [-9.0, 9.0])
    told = type_all(after, gate=1)
    assert "2 new evaluations, 4 reused" in told
    assert "hf:my-vit none  worse" in told
    assert "hf:my-vit" in (folder / "table.csv").read_text(encoding="utf-8")
    assert "Samples that flipped" in (folder / "report.html").read_text(encoding="utf-8")
