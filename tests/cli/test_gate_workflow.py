"""The GitHub workflow of docs/gate.md, typed: a committed checkpoint on the small suite of the page."""

import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file

from robustbench_wb.tasks.task import Dataset

PAGE = (Path(__file__).parents[2] / "docs" / "gate.md").read_text(encoding="utf-8")
MODEL = """
from torch import nn
def make(shape):
    return nn.Sequential(nn.Flatten(), nn.Linear(shape.channels * shape.height * shape.width, shape.classes))
"""
FEW = ("--device", "cpu", "--samples", "40", "--progress", "none")
Typed = Callable[..., tuple[str, str]]
Workflow = Callable[..., None]


def block(language: str) -> str:
    return PAGE.split(f"```{language}\n")[-1].split("```")[0]


@pytest.fixture
def workflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: Typed, digits: Dataset) -> Workflow:
    """Write weights (nearest class mean, or all zero), and type the steps of an event."""
    monkeypatch.chdir(tmp_path)
    for name, text in (("model.py", MODEL), ("robustness.toml", block("toml"))):
        Path(name).write_text(text, encoding="utf-8")
    images, labels = digits.train.inputs.reshape(len(digits.train), -1) / 255, digits.train.labels
    means = torch.from_numpy(np.stack([images[labels == label].mean(0) for label in range(10)])).float()
    steps = yaml.safe_load(block("yaml"))["jobs"]["gate"]["steps"]

    def work(event: str, *, scale: float = 1.0, code: int = 0) -> None:
        Path("weights").mkdir(exist_ok=True)
        weights = {"1.weight": scale * means, "1.bias": -scale * means.square().sum(1) / 2}
        save_file(weights, "weights/model.safetensors")
        commands = [
            shlex.split(step["run"]) for step in steps if f"'{event}'" in step.get("if", f"'{event}'") and "run" in step
        ]
        install, *own = commands
        assert install[:2] == ["pip", "install"]
        assert len(own) == 2
        for program, *arguments in own:
            assert program == "robustbench-wb"
            typed(*arguments, *FEW * (arguments[0] == "run"), code=code * (arguments[0] == "gate"))

    return work


def test_the_workflow_pins_passes_and_fails(workflow: Workflow) -> None:
    workflow("workflow_dispatch")
    Path("baselines").mkdir()
    Path("main.parquet").rename("baselines/main.parquet")
    workflow("pull_request")
    assert 'failures="0"' in Path("robustness.xml").read_text(encoding="utf-8")
    workflow("pull_request", scale=0.0, code=1)
    assert 'failures="0"' not in Path("robustness.xml").read_text(encoding="utf-8")
