"""Runs by the published protocol: who is attacked, which states that gives, and what is never put beside it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustbench_wb.api import run as harness
from robustbench_wb.cli.app import run_cli
from robustbench_wb.engine.batch import BatchSize
from robustbench_wb.engine.measure import LadderStep, measure
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.engine.task_samples import MeasuredModel, TaskSamples
from robustbench_wb.models.providers.image_model import ImageModel, Preprocessing
from robustbench_wb.models.shape import ImageShape
from robustbench_wb.records.record import State
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.store.score_table import ScoreTable
from robustbench_wb.stressors.catalogue import parse_stressor
from tests.store.make import identity

PUBLISHED = ("published-fgsm-linf;eps=1/10", "published-pgd-linf;eps=1/10", "published-spsa;eps=1/10;steps=2;samples=4")


class Threshold(nn.Module):
    """Class 0 where the normalised value is above zero; no number where it is far below."""

    def forward(self, images: Tensor) -> Tensor:
        value = images.flatten(1)[:, :1]
        value = torch.where(value < -0.9, torch.nan, value)
        return torch.cat([value, torch.zeros_like(value)], 1)


def planted() -> nn.Module:
    shape = ImageShape(channels=1, height=1, width=1, classes=2, patch=1)
    return ImageModel(
        Threshold(),
        shape,
        Preprocessing(height=1, width=1, mean=(0.5,), std=(0.5,), interpolation="bilinear"),
        fresh_head=False,
    ).eval()


def test_states_follow_the_true_label_though_the_own_one_is_attacked() -> None:
    levels = np.array([130, 250, 130, 250, 120, 30, 0], np.uint8).reshape(-1, 1, 1, 1)  # the boundary is at 127.5
    samples = TaskSamples(ids=np.arange(7, dtype=np.int32), inputs=levels, labels=np.array([0, 0, 1, 1, 0, 0, 0]))
    model = MeasuredModel(model=planted(), batch=BatchSize(3), device=torch.device("cpu"))

    def step(signature: str) -> LadderStep:
        return LadderStep(rungs=(parse_stressor(signature),), identities=(identity(signature=signature),))

    (clean,) = measure(step("clean"), model, samples, before=None, advance=lambda count: None)
    right, wrong = State.ROBUST, State.WRONG
    assert clean.states.tolist() == [right, right, wrong, wrong, wrong, wrong, State.ERRORED]
    attack = step("published-fgsm-linf;eps=1/10")
    (found,) = measure(attack, model, samples, before=clean.states, advance=lambda count: None)
    # Near the boundary both the right and the wrong change sides; far from it nothing happens.
    assert found.states.tolist() == [State.BROKEN, right, right, wrong, right, wrong, State.ERRORED]
    assert found.wobble == 0
    assert found.forwards.tolist() == [4] * 6 + [0]


def request(**changes: object) -> RunRequest:
    fields = {"variants": ("vit",), "stressors": PUBLISHED, "samples": 40, "device": "cpu"}
    return RunRequest.model_validate({**fields, **changes})


@pytest.mark.slow(6)
def test_batch_size_changes_no_state(tmp_path: Path) -> None:
    found = {}
    for batch in (256, 1, 7, 64):
        results = str(tmp_path / str(batch))
        report = harness.run(request(batch=batch, samples=24), results)
        keys = [row.key for row in report.rows]
        found[batch] = [RecordStore(results).find(keys)[key].states for key in keys]
    for batch in (1, 7, 64):
        np.testing.assert_array_equal(found[batch], found[256])


def test_every_strength_stands_alone_and_tries_all_samples(tmp_path: Path) -> None:
    strengths = ("6/255", "1/10", "1/2")
    report = harness.run(request(stressors=("published-fgsm-linf;eps=1/255",), epsilons=strengths), str(tmp_path))
    alone = harness.run(request(stressors=("published-fgsm-linf;eps=1/2",)), str(tmp_path))
    assert [row.ladder for row in report.rows] == [""] * 4
    assert [row.forwards for row in report.rows[1:]] == [4.0] * 3  # the label, the gradient, and twice the verdict
    assert alone.reused == 2
    assert [row.protocol for row in report.rows] == ["sound", *["as-published"] * 3]
    for row in report.rows:
        assert row.accuracy == row.robust / row.n
        assert row.robust + row.broken + row.wrong == row.n


FOREIGN = """
from torch import nn
def make(shape):
    return nn.Sequential(nn.Flatten(), nn.Linear(shape.channels * shape.height * shape.width, shape.classes))
"""


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Type a command in an empty folder; its standard output, when it ends with the expected code."""
    (tmp_path / "model.py").write_text(FOREIGN)
    monkeypatch.chdir(tmp_path)

    def typed(*arguments: str, code: int = 0) -> str:
        capsys.readouterr()
        found = run_cli(list(arguments))
        out, err = capsys.readouterr()
        assert found == code, err
        return out

    return typed


@pytest.mark.slow(2)
def test_both_protocols_through_the_front_door(command: Callable[..., str]) -> None:
    small = ("--variant", "vit", "--samples", "40", "--device", "cpu")
    run = command("run", "--suite", "adversarial-as-published", *small, "--epsilon", "1/10", "--full")
    assert "digits, smoke scale, protocol as-published: robust accuracy" in run
    command("run", *small, "--stressor", "pgd-linf;eps=1/10", "--stressor", PUBLISHED[1])
    board = command("leaderboard", "--full")
    assert board.count("protocol as-published") == 2  # two panels, each with its rows and its ranking
    assert board.count("as-published: ranking") == 2
    rows = json.loads(command("leaderboard", "--json"))["rows"]
    assert {(row["stressor"], row["protocol"]) for row in rows} == {
        ("clean", "sound"),
        ("pgd-linf", "sound"),
        ("published-fgsm-linf", "as-published"),
        ("published-pgd-linf", "as-published"),
    }
    assert "protocol" in command("leaderboard", "--csv", "-").splitlines()[0].split(",")
    table = ScoreTable("results")
    moved = [row.model_copy(update={"protocol": "sound"}) for row in table.rows() if row.protocol != "sound"]
    table.commit(moved, {})
    shown = command("diff", "v2", "v3")
    assert "not comparable (protocol: as-published and sound)" in " ".join(shown.split())


def test_a_model_whose_normalisation_is_not_known_is_one_line(command: Callable[..., str]) -> None:
    arguments = ("--variant", "model.py:make", "--recipe", "none", "--samples", "10", "--stressor", PUBLISHED[0])
    rows = json.loads(command("run", *arguments, "--device", "cpu", "--json", code=4))["rows"]
    clean, published = rows
    assert clean["status"] == "ok"
    assert published["status"] == "error"
    assert published["error"].startswith("the normalisation inside Sequential is unknown")
    assert (published["protocol"], published["accuracy"], published["accuracy_high"]) == ("as-published", None, None)
