"""A mistake planted in training is caught by the gate, from the model to the exit code."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MODEL = """
import torch
from sklearn.datasets import load_digits
from torch import nn

from robustbench_wb.tasks.digits import DIGITS

MISLABELLED = False

class Linear(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.map = nn.Linear(shape.height * shape.width, shape.classes)
    def forward(self, images):
        return self.map(images.flatten(1) - 0.3)

def make(shape):
    \"\"\"Trained here, by plain gradient descent on the whole training split.\"\"\"
    train = DIGITS.load(None).train
    labels = torch.from_numpy(train.labels.copy())
    if MISLABELLED:
        labels[labels == 7] = 1  # somebody's hand slipped
    inputs = torch.from_numpy(train.inputs).float() / 255
    model = Linear(shape)
    nn.init.zeros_(model.map.weight), nn.init.zeros_(model.map.bias)
    optimiser = torch.optim.LBFGS(model.parameters(), max_iter=MAX_ITER)
    def closure():
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs), labels) + 1e-3 * model.map.weight.square().sum()
        loss.backward()
        return loss
    optimiser.step(closure)
    return model
"""
RUN = ("run", "--variant", "model.py:make", "--recipe", "none", "--device", "cpu", "--progress", "none")
WEAK = ("--stressor", "pgd-linf;eps=8/255;steps=5")
STRONG = ("--stressor", "pgd-linf;eps=8/255;steps=40")
GATE = ("gate", "--baseline", "baselines/main.parquet")


Command = Callable[..., tuple[str, str]]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: Command) -> Command:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RBWB_CACHE_DIR", str(tmp_path / "cache"))
    return typed


def write(mislabelled: bool, steps: int = 60) -> None:
    text = MODEL.replace("MISLABELLED = False", f"MISLABELLED = {mislabelled}").replace("MAX_ITER", str(steps))
    Path("model.py").write_text(text)


def judgements(text: str) -> list[dict[str, Any]]:
    return list(json.loads(text)["judgements"])


@pytest.mark.slow(3)
def test_a_class_mislabelled_in_training_is_caught(command: Command) -> None:
    write(mislabelled=False)
    command(*RUN, *WEAK)
    command("baseline", "pin", "main")
    command(*GATE)

    # Another training that is as good: nothing to complain of.
    write(mislabelled=False, steps=80)
    command(*RUN, *WEAK)
    command(*GATE)

    write(mislabelled=True)
    command(*RUN, *WEAK)
    out, _ = command(*GATE, "--json", code=1)
    clean = next(one for one in judgements(out) if one["row"] and one["row"]["stressor"] == "clean")
    assert clean["outcome"] == "regressed"
    # What was lost is the class, and next to nothing else.
    from robustbench_wb.tasks.digits import DIGITS

    labels = DIGITS.load(None).test.labels
    lost = labels[clean["found"]["lost_ids"]]
    assert (lost == 7).mean() > 0.9
    assert (lost == 7).sum() > 0.9 * (labels == 7).sum() - clean["found"]["neither"]
    command("report", "--html", "report.html", "--against", "baselines/main.parquet")
    changes = Path("report.html").read_text().split('id="changes"')[1].split("</section>")[0]
    assert re.search(r"worse: model.py:make .* this checkpoint", changes)
    _, err = command("baseline", "promote", "main", code=1)
    assert "not promoted: baselines/main.parquet -> v3: failed, a drop beyond the margin" in err


@pytest.mark.slow(2)
def test_a_stronger_attack_is_not_comparable(command: Command) -> None:
    write(mislabelled=False)
    command(*RUN, *WEAK)
    command("baseline", "pin", "main")
    command(*RUN, *STRONG, "--results", "stronger")
    out, _ = command(*GATE, "--results", "stronger", "--json", code=3)
    found = {one["row"]["stressor"]: one for one in judgements(out) if one["row"]}
    assert (found["clean"]["outcome"], found["pgd-linf"]["outcome"]) == ("passed", "not comparable")
    assert "steps=5" in found["pgd-linf"]["reason"]
