"""Grades of models with kinks and ties, of numbers that adversarial examples prove, and counts of ensembles."""

import json
from pathlib import Path

from robustbench_wb.api import run as harness
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.records.score_row import ScoreRow
from tests.engine.planted import DEAD, failed

MODELS = (
    DEAD
    + """


class Fake(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.out = nn.Linear(64, classes)

    def forward(self, images):
        return self.out(Dead.apply(images).flatten(1))


def pooled(shape):
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 256, shape.classes)
    )


def fake(shape):
    return Fake(shape.classes)
"""
)


def rows_of(folder: Path, model: str, *stressors: str, task: str = "digits") -> list[ScoreRow]:
    """Rows of attacks on an untrained model of the source above."""
    (folder / "models.py").write_text(MODELS)
    request = RunRequest(
        variants=(f"{folder / 'models.py'}:{model}",),
        tasks=(task,),
        recipe="none",
        samples=30,
        stressors=stressors,
        device="cpu",
    )
    return list(harness.run(request, str(folder / "results")).rows[1:])


def test_an_honest_model_with_max_pooling_is_not_graded_f(tmp_path: Path) -> None:
    (quick,) = rows_of(tmp_path, "pooled", "quick-linf;eps=1/255", task="digits-32")
    checks = {check["name"]: check for check in json.loads(quick.checks)}
    assert quick.grade != "F", failed(quick)
    assert checks["slope"]["grade"] == "A"
    assert checks["slope"]["samples"] > 0
    # An ensemble of five members counts a sample up to five times, and says so.
    for name in ("attack gradient", "budget"):
        assert checks[name]["samples"] <= quick.n - quick.wrong
        assert "(counted once per member)" in checks[name]["reason"]


def test_a_number_that_adversarial_examples_prove_is_not_graded_f(tmp_path: Path) -> None:
    small, large = rows_of(tmp_path, "fake", "quick-linf;eps=1/255", "quick-linf;eps=1")
    assert small.robust > 0
    assert small.grade == "F"
    assert (large.robust, large.errored, large.grade) == (0, 0, "B")
    assert failed(large)["gradient"] == "B"
