"""``selfcheck`` through the command: a steady subject, one that depends on its batch, and the gate."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from robustbench_wb.analysis.gate.noise_floor import NoiseFloor, read_noise_floor
from robustbench_wb.folders import cache_folder, temporary_cache
from tests.cli.test_gate import GATE, cells, commit
from tests.engine.linear_model import LINEAR

Command = Callable[..., tuple[str, str]]
SMALL = ("--samples", "40", "--recipe", "none", "--stressor", "fgsm-linf", "--epsilon", "16/255", "--progress", "none")
MODELS = f"""{LINEAR}
class Neighbours(Linear):
    def forward(self, images):
        return super().forward(images) * (-1 if len(images) < 40 else 1)

def neighbours(shape):
    return Neighbours(shape)
"""


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: Command, cache: str) -> Command:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RBWB_CACHE_DIR", cache)
    (tmp_path / "model.py").write_text(MODELS)
    return typed


@pytest.mark.slow(2)
def test_a_steady_subject_has_no_floor_and_leaves_nothing_behind(command: Command) -> None:
    threads = torch.get_num_threads()
    out, _ = command("selfcheck", "--variant", "model.py:make", *SMALL, "--save", "noise.json")
    assert out.startswith("3 runs: no outcome changed in 2 cells, ")
    noise = read_noise_floor("noise.json")
    assert [(one.batch, one.reversed) for one in noise.settings] == [(None, False), (7, True), (33, False)]
    assert [(one.stressor, one.n, one.flips, one.floor) for one in noise.cells] == [
        ("clean", 40, 0, 0.0),
        ("fgsm-linf", 40, 0, 0.0),
    ]
    assert all(len(one.seconds) == 3 and one.loss_gap < 1e-5 for one in noise.cells)
    assert {path.name for path in Path.cwd().iterdir()} - {"__pycache__"} == {"model.py", "noise.json"}
    assert torch.get_num_threads() == threads


@pytest.mark.slow(2)
def test_a_subject_that_depends_on_its_batch_is_found_out(command: Command) -> None:
    out, _ = command("selfcheck", "--variant", "model.py:neighbours", *SMALL, "--json", code=4)
    content = json.loads(out)
    assert content["schema"] == 1
    clean, _ = content["cells"]
    assert clean["flips"] > 0
    assert clean["floor"] == pytest.approx(clean["flips"] / 40)
    assert 0 < clean["spread"] <= clean["floor"]
    assert not clean["identical"]


def test_what_cannot_be_measured_is_4_and_a_wrong_request_2(command: Command) -> None:
    out, _ = command("selfcheck", "--variant", "model.py:raises", *SMALL, code=4)
    assert "another planet" in out
    command("selfcheck", "--times", "1", code=2)
    command("selfcheck", "--variant", "nobody", *SMALL, code=2)


def test_a_fresh_cache_is_empty_and_vanishes() -> None:
    usual = cache_folder("perturbed")
    with temporary_cache("perturbed"):
        inside = cache_folder("perturbed")
        assert inside != usual
        assert not list(inside.iterdir())
        assert cache_folder("layers").parent == usual.parent
    assert not inside.exists()
    assert cache_folder("perturbed") == usual


def floors(floor: float, **changes: Any) -> None:
    """A file of noise for the cells of the gate's tests."""
    made = []
    for found, named in cells():
        names = ("task", "variant", "size", "recipe", "scale", "suite", "stressor", "strength", "seed", "metric", "n")
        made.append(
            {
                **{name: getattr(named, name) for name in names},
                "numerics": found.identity.numerics,
                "flips": round(floor * named.n),
                "spread": floor / 2,
                "floor": floor,
                "identical": False,
                "loss_gap": 0.0,
                "weights": ["old"],
                "seconds": [1.0, 1.0],
                **changes,
            }
        )
    setting = {"batch": None, "threads": 1, "reversed": False}
    Path("noise.json").write_text(json.dumps({"schema": 1, "settings": [setting] * 2, "cells": made}))


def test_a_drop_within_margin_and_floor_is_no_regression(command: Command) -> None:
    commit(cells())
    command("baseline", "pin", "main")
    commit(cells(40, "new"))
    command(*GATE, code=1)
    floors(0.05)
    out, _ = command(*GATE, "--noise", "noise.json", "--full")
    assert "noise floors from noise.json for " in out
    content = json.loads(command(*GATE, "--noise", "noise.json", "--json")[0])
    (lost,) = [one for one in content["judgements"] if one["row"] and one["row"]["stressor"] == "pgd-linf"]
    assert (lost["outcome"], lost["floor"]) == ("undecided", 0.05)
    assert lost["smallest"] > 0.06
    # What passes is as before, and a drop beyond both is still found.
    assert [one["outcome"] for one in content["judgements"] if one["row"] and one["row"]["stressor"] == "clean"] == [
        "passed"
    ]
    floors(0.005)
    command(*GATE, "--noise", "noise.json", code=1)
    # Of other numerics: another noise.
    floors(0.05, numerics="cuda;float32;torch-2.13")
    command(*GATE, "--noise", "noise.json", code=1)
    # A floor beyond everything.
    floors(1.0)
    command(*GATE, "--noise", "noise.json")


def test_a_project_names_its_noise(command: Command) -> None:
    commit(cells())
    command("baseline", "pin", "main")
    commit(cells(40, "new"))
    floors(0.05)
    Path("pyproject.toml").write_text('[tool.robustbench_wb.gate]\nnoise = "noise.json"\n')
    command(*GATE)
    Path("pyproject.toml").write_text("[tool.robustbench_wb.gate]\nnoise = 3\n")
    assert "is not a file" in command(*GATE, code=2)[1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot be read"),
        ("{", "is not a file of `selfcheck --save`"),
        ("{}", "is not a file of `selfcheck --save`"),
        ('{"schema": 2}', "schema of 'noise.json' is 2"),
        ('{"schema": 1, "cells": []}', "was changed after it was written"),
    ],
)
def test_a_file_that_is_none_is_one_clear_line(text: str | None, words: str, command: Command) -> None:
    commit(cells())
    if text is not None:
        Path("noise.json").write_text(text)
    _, err = command("gate", "--baseline", "v1", "--noise", "noise.json", code=2)
    assert words in err
    assert err.count("\n") == 1


def test_without_cells_all_floors_are_nothing() -> None:
    (_, named), *_ = cells()
    assert NoiseFloor(settings=(), cells=()).floor(named) == 0.0
