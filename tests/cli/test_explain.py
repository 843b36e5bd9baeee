"""``explain``: it foretells exactly what a run does, and names every field that changed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from robustbench_wb.api.explain import explain
from robustbench_wb.api.run import run
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.store.score_table import ScoreTable

REQUEST = RunRequest(
    variants=("vit",),
    recipe="none",
    samples=10,
    stressors=("noise-linf;eps=8/255",),
    epsilons=("2/255", "8/255"),
    device="cpu",
)
OPTIONS = ("--variant", "vit", "--samples", "10", "--stressor", "noise-linf;eps=8/255", "--device", "cpu")

Command = Callable[..., str]


@pytest.fixture(scope="module")
def results(cache: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    place = str(tmp_path_factory.mktemp("explain") / "results")
    run(REQUEST, place)
    return place


@pytest.fixture
def command(typed: Callable[..., tuple[str, str]]) -> Command:
    def explained(*arguments: str, code: int = 0) -> str:
        out, err = typed("explain", *OPTIONS, *arguments, "--progress", "none", code=code)
        return out or err

    return explained


def outcomes(request: RunRequest, results: str) -> list[str]:
    return [item.outcome for item in explain(request, results).cells]


def test_what_was_run_is_reused(results: str) -> None:
    assert outcomes(REQUEST, results) == ["reused"] * 3


def test_a_new_cell_is_new_and_the_others_are_reused(results: str) -> None:
    more = REQUEST.model_copy(update={"stressors": (*REQUEST.stressors, "fgsm-linf;eps=8/255")})
    assert outcomes(more, results) == ["reused"] * 3 + ["new"] * 2


@pytest.mark.parametrize(
    ("update", "fields"),
    [
        ({"samples": 12}, {"samples"}),
        ({"stressors": ("noise-linf;eps=8/255;draws=3",)}, {"signature"}),
        ({"epsilons": ("1/255", "8/255")}, {"ladder"}),
    ],
    ids=["samples", "signature", "ladder"],
)
def test_the_fields_that_changed_are_named_with_both_values(
    update: dict[str, Any], fields: set[str], results: str
) -> None:
    last = explain(REQUEST.model_copy(update=update), results).cells[-1]
    before = explain(REQUEST, results).cells[-1]
    assert (last.outcome, last.version) == ("changed", 1)
    assert {change.field for change in last.changes} == fields
    assert all(change.old != change.new for change in last.changes)
    assert last.key != before.key


def test_edited_code_and_another_device_are_named(results: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robustbench_wb.engine.task_context.numerics", lambda device, deterministic: "abacus")
    monkeypatch.setattr("robustbench_wb.stressors.attacks.ball_noise.NoiseLinf.code", lambda self: "edited")
    clean, first, _ = explain(REQUEST, results).cells
    assert {change.field: change.new for change in clean.changes} == {"numerics": "abacus"}
    assert {change.field: change.new for change in first.changes} == {"numerics": "abacus", "stressor_code": "edited"}


@pytest.mark.slow(2)
def test_it_foretells_what_a_run_does(tmp_path: Path, results: str) -> None:
    """Also after half of it was done, and before there is anything."""
    place = str(tmp_path / "results")
    assert outcomes(REQUEST, place) == ["new"] * 3
    assert not Path(place).exists()
    run(REQUEST.model_copy(update={"epsilons": ("2/255",)}), place)
    foretold = outcomes(REQUEST, place)
    report = run(REQUEST, place)
    assert (foretold.count("reused"), len(foretold) - foretold.count("reused")) == (report.reused, report.measured)
    assert outcomes(REQUEST, place) == ["reused"] * 3


def test_a_record_that_is_gone_was_not_kept(tmp_path: Path, results: str) -> None:
    place = str(tmp_path)
    ScoreTable(place).commit(ScoreTable(results).rows(), {})
    assert outcomes(REQUEST, place) == ["not kept"] * 3
    known = [row.key for row in ScoreTable(results).rows()]
    assert RecordStore(place).find(known) == {}


def test_a_subject_that_is_not_trained_stays_so(results: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RBWB_CACHE_DIR", str(tmp_path / "cache"))
    found = explain(REQUEST.model_copy(update={"recipe": "standard"}), results).cells
    assert {(item.outcome, item.key, item.reason) for item in found} == {("unknown", "", "not trained yet")}
    assert not list(tmp_path.glob("cache/checkpoints/*"))


def test_the_command(results: str, command: Command) -> None:
    shown = command("--recipe", "none", "--epsilon", "8/255", "--results", results)
    assert shown.startswith("2 cells: 1 reused, 1 measured\n")
    assert "noise-linf@8/255  measured  since v1: ladder 2/255 8/255 -> none" in shown
    shown = command("*CLEAN", "--recipe", "none", "--results", results, code=2)
    assert shown.startswith("error: no cell of the request is called '*CLEAN'")
    content = json.loads(command("clean", "--recipe", "none", "--results", results, "--json"))
    assert [(cell["outcome"], cell["cell"]["stressor"]) for cell in content["cells"]] == [("reused", "clean")]


def test_contaminated_training_has_a_subject_of_its_own(results: str, tmp_path: Path) -> None:
    tainted = REQUEST.model_copy(update={"stressors": ("label-noise;rate=1/10",), "epsilons": ()})
    clean, noisy = explain(tainted, results).cells
    assert (clean.outcome, noisy.outcome) == ("reused", "unknown")
    assert "needs a subject that is trained" in noisy.reason
