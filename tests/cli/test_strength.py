"""``strength`` through the front door, with real attacks on a trained subject."""

import json
from collections.abc import Callable

import pytest
from torch import nn

from robustbench_wb.api import run as harness
from robustbench_wb.api.strength import strength
from robustbench_wb.cli.app import run_cli
from robustbench_wb.engine.request import RunRequest

FEW, MANY = "pgd-linf;steps=3", "apgd-linf;steps=50"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, trained: Callable[[str], nn.Module]) -> str:
    """A run with an attack that is far from done, and one that is done, on the trained vit."""
    trained("vit")
    place = str(tmp_path_factory.mktemp("strength") / "results")
    attacks = tuple(signature.replace(";", ";eps=16/255;") for signature in (FEW, MANY))
    request = {"variants": ("vit",), "stressors": attacks, "epsilons": ("16/255", "32/255"), "samples": 200}
    harness.run(RunRequest.model_validate({**request, "device": "cpu", "executor": "inline"}), place)
    return place


@pytest.mark.slow(4)
def test_pgd_3_has_no_plateau_and_apgd_50_has(results: str) -> None:
    result = strength("vit-nano", results=results)
    version, found = result.version, result.rows
    assert version == 1
    verdicts = {(one.row.stressor, one.row.strength): one.curve.plateau for one in found if one.curve is not None}
    assert verdicts == {
        ("pgd-linf", "16/255"): False,
        ("pgd-linf", "32/255"): False,
        ("apgd-linf", "16/255"): True,
        ("apgd-linf", "32/255"): True,
    }
    for one in found:
        assert one.curve is not None
        assert one.curve.points[-1].accuracy == one.row.accuracy
    pgd = found[0].curve
    assert pgd is not None
    # Two losses, each with a start, three steps and a last look.
    assert (pgd.budget, pgd.runs) == (8, (1, 2))


def test_as_text_and_as_json(results: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["strength", "vit", "--stressor", "pgd-linf", "--results", results]) == 0
    shown = capsys.readouterr().out
    costs, runs, checks, notes = shown.strip().split("\n\n")
    assert costs.startswith("digits, smoke scale, table v1, vit-nano: pgd-linf;steps=3;step=1/8;restarts=1;loss=both\n")
    lines = costs.splitlines()[2:]
    assert [(line.split()[0], line.split()[-1]) for line in lines] == [("16/255", "NO"), ("32/255", "NO")]
    assert runs.splitlines()[0].split("  ")[0] == "strength"
    assert {"gradient", "converged", "strongest"} <= {line.split("  ")[0] for line in checks.splitlines()}
    assert "docs/credibility.md" in notes
    part = ["--stressor", "apgd-linf;eps=16/255", "--version", "v1"]
    assert run_cli(["strength", "vit", *part, "--results", results, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    (only,) = content["rows"]
    assert (content["version"], only["strength"], only["curve"]["plateau"]) == (1, "16/255", True)
    assert only["curve"]["points"][-1]["accuracy"] == only["accuracy"]
    assert {"name", "value", "limit", "samples", "reason", "grade"} == set(only["checks"][0])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["crate"], "v1 has no graded row of 'crate'; it has: vit"),
        (["vit", "--stressor", "square-linf"], "under 'square-linf'; it has: pgd-linf, apgd-linf"),
        (["vit", "--stressor", "a", "--stressor", "b"], "takes one --stressor"),
        (["vit", "--version", "v7"], "no version 'v7'"),
    ],
)
def test_what_is_not_there_is_one_line(
    arguments: list[str], words: str, results: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_cli(["strength", *arguments, "--results", results]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert len(err.strip().splitlines()) == 1
