"""``curves`` through the front door, on runs of a small model."""

import json
from pathlib import Path

import pytest

from robustbench_wb.api import run as harness
from robustbench_wb.cli.app import run_cli
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.store.score_table import ScoreTable
from tests.engine.linear_model import LINEAR
from tests.known import known

SUITE = """
name = "mine"
version = 1
summary = "A corruption, a contamination and a trigger."

[[stressors]]
use = "contrast"
strengths = "severities"

[[stressors]]
use = "backdoor;target=3"
strengths = "rates"

[strengths.severities]
default = ["1", "2", "3", "4", "5"]

[strengths.rates]
default = ["1/10"]

[scales.smoke]
samples = 100
size = "nano"
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A suite of the user's own, with a trained model and one that cannot be built."""
    place = tmp_path_factory.mktemp("curves")
    (place / "own.py").write_text(f"{LINEAR}\nOF = 'curves'\n")
    (place / "mine.toml").write_text(SUITE)
    variants = tuple(f"{place / 'own.py'}:{factory}" for factory in ("make", "raises"))
    request = {"suite": str(place / "mine.toml"), "variants": variants, "device": "cpu"}
    harness.run(RunRequest.model_validate(request), str(place / "results"))
    return str(place / "results")


def variant(results: str) -> str:
    return f"{Path(results).parent / 'own.py'}:make"


def test_as_text(results: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["curves", "latest", "--baseline", variant(results), "--results", results]) == 0
    shown = capsys.readouterr().out
    assert "digits, smoke scale, suite mine v1, table v1: accuracy by strength" in shown
    assert "mean error, unnormalised" in shown
    assert "1 of the 15 common corruptions" in shown
    assert "no area: no number at clean, 1, 2, 3, 4, 5" in shown
    (line,) = [line for line in shown.splitlines() if line.startswith("mean CE")]
    assert line.split()[-1] == "100.0"


def test_as_json_the_numbers_are_those_of_the_rows(results: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["curves", "v1", "--results", results, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    rows = {(row.stressor, row.strength): row for row in ScoreTable(results).rows() if row.status == "ok"}
    contrast, backdoor = (one for one in content["curves"] if one["variant"] == variant(results))
    severities = [rows["contrast", str(severity)] for severity in range(1, 6)]
    accuracies = [known(row.accuracy) for row in (rows["clean", ""], *severities)]
    assert [point["accuracy"] for point in contrast["points"]] == accuracies
    assert contrast["area"] == pytest.approx((sum(accuracies) - (accuracies[0] + accuracies[-1]) / 2) / 5)
    assert contrast["low"] < contrast["area"] < contrast["high"]
    assert contrast["threshold"] == pytest.approx((accuracies[0] + 0.1) / 2)
    (success,) = backdoor["success"]
    assert success["share"] == rows["backdoor", "1/10"].obeyed
    assert success["low"] < success["share"] <= success["high"]
    (errors,) = content["corruption_errors"]
    assert errors["errors"]["contrast"] == pytest.approx([1 - accuracy for accuracy in accuracies[1:]])
    assert (errors["mean"], errors["normalised"]) == (pytest.approx(1 - sum(accuracies[1:]) / 5), [])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["latest", "--reference", "alexnet"], "ImageNet's 1000 classes; task 'digits' has 10"),
        (["latest", "--baseline", "vit"], "no baseline 'vit'"),
        (["vit"], "no version 'vit'"),
        (["v7"], "no version 'v7'"),
        (["v1", "--seed", "1"], "--seed"),
    ],
)
def test_what_cannot_be_shown_is_one_line(
    arguments: list[str], words: str, results: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_cli(["curves", *arguments, "--results", results]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert len(err.strip().splitlines()) == 1


def test_a_table_without_strengths_has_no_curves(
    results: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request = {"suite": "clean", "variants": (variant(results),), "samples": 20, "device": "cpu"}
    harness.run(RunRequest.model_validate(request), str(tmp_path / "r"))
    assert run_cli(["curves", "v1", "--results", str(tmp_path / "r")]) == 2
    assert "v1 has no accuracies at several strengths" in capsys.readouterr().err
