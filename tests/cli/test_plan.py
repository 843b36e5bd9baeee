"""``plan`` typed, and the minimum detectable effect of ``run --plan``."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from robustbench_wb import plan

MODEL = """
from torch import nn
def flat(shape):
    return nn.Sequential(nn.Flatten(), nn.Linear(shape.channels * shape.height * shape.width, shape.classes))
"""
ASKED = ("--suite", "clean", "--variant", "model.py:flat", "--recipe", "none", "--device", "cpu", "--progress", "none")
Typed = Callable[..., tuple[str, str]]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    (tmp_path / "model.py").write_text(MODEL)
    return tmp_path


def test_a_plan_says_samples_and_cost_and_writes_nothing(typed: Typed, folder: Path) -> None:
    before = set(folder.iterdir())
    out, _ = typed("plan", *ASKED, "--margin", "10", "--drop", "25", "--discordance", "8")
    assert "samples decide both ways with 80 % power" in out
    assert "drop: 8 % of the samples, as given" in " ".join(out.split())
    assert "`run --samples" in out
    assert set(folder.iterdir()) == before


@pytest.mark.slow(1)
def test_stored_seeds_say_how_many_samples_change(typed: Typed) -> None:
    typed("run", *ASKED, "--samples", "60", "--seeds", "0-1")
    assert "measured twice" in typed("plan", *ASKED, "--baseline", "v1", code=2)[1]
    made = plan(suite="clean", variants="model.py:flat", recipe="none", margin=10, samples=60)
    assert "between seeds in v1" in made.discordance
    assert list(made.to_pandas()["cell"]) == ["clean"]
    found = json.loads(typed("run", *ASKED, "--samples", "60", "--plan", "--json")[0])
    assert found["discordance"] == made.discordance
    assert 0.01 < found["parts"][0]["detectable"] < 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--power", "1"), "--power = 1"),
        (("--power", "0.01"), "not a probability"),
        (("--margin", "-1"), "--margin = -1.0 is not a margin"),
        (("--margin", "5", "--drop", "4"), "--drop = 4 points must exceed the margin of 5 points"),
        (("--discordance", "101"), "--discordance = 101"),
        (("--discordance", "5", "--version", "v1"), "use one of them"),
        (("--version", "v7"), "no results"),
    ],
)
def test_what_cannot_be_planned_is_one_line(typed: Typed, options: tuple[str, ...], message: str) -> None:
    out, err = typed("plan", *ASKED, *options, code=2)
    assert message in err
    assert (out, err.count("\n")) == ("", 1)
