"""``diff`` through the command: sides, refusals, what is allowed, and what is printed."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from robustbench_wb.cli.app import run_cli
from robustbench_wb.records.record import State
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.report.csv import rows_csv
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.store.score_table import ScoreTable
from tests.store.make import record, row, states

Command = Callable[..., str]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def typed(*arguments: str, code: int = 0) -> str:
        capsys.readouterr()
        found = run_cli(["diff", *arguments])
        out, err = capsys.readouterr()
        assert found == code, err
        return out if code in (0, 3) and out else err

    return typed


def commit(place: str, outcomes: Sequence[int], weights: str, stressor: str = "pgd-linf", **changes: Any) -> ScoreRow:
    """One more version, with this cell in it."""
    names = {name: changes.pop(name) for name in ("seed", "scale", "suite_version", "protocol") if name in changes}
    made = record(outcomes, weights=f"{weights}{names.get('seed', 0)}", **{"signature": stressor, **changes})
    RecordStore(place).append(made)
    committed = row(made, error="NaN" if State.ERRORED in outcomes else "", stressor=stressor, **names)
    ScoreTable(place).commit([committed], {})
    return committed


def test_a_verdict_comes_first_and_says_what_it_is_about(command: Command) -> None:
    commit("results", states(1000, 0), "old")
    commit("results", states(960, 40), "new")
    first, second, *rest = command("HEAD~1", "HEAD", "--full").splitlines()
    assert first == "v1 -> v2: worse"
    assert second.startswith(
        "worse: vit-nano (plain), digits, suite adversarial, small scale: -4.0 [-5.4, -3.0] points"
    )
    assert second.endswith("; this checkpoint (seed 0)")
    assert "minimum detectable effect" in second
    screen = command("HEAD~1", "HEAD")
    assert "vit-nano plain  worse    -4.0 [-5.4, -3.0]" in screen
    assert "pgd-linf@8/255  worse" in screen
    assert any("pgd-linf@8/255  worse" in line for line in rest)


def test_several_seeds_speak_for_their_architecture(command: Command) -> None:
    for version, lost in (("old", 0), ("new", 60)):
        for seed in range(3):
            commit("results", states(1000 - lost - seed, lost + seed), version, seed=seed)
    first, second, *rest = command("v3", "v6", "--full").splitlines()
    assert first == "v3 -> v6: worse"
    assert second.endswith("; this architecture, 3 seeds (0, 1, 2)")
    assert [line.endswith(f"; this checkpoint (seed {seed})") for seed, line in enumerate(rest[:3])] == [True] * 3


def test_identical_tables_and_one_changed_sample(command: Command) -> None:
    commit("results", states(100, 4), "old")
    shown = command("v1", "v1")
    assert shown.startswith("v1 -> v1: nothing was compared, no common cell was measured anew\n")
    content = json.loads(command("v1", "v1", "--json"))
    assert [(pair["p"], pair["difference"]) for pair in content["pairs"]] == [(1, 0)]
    commit("results", [1] * 4 + states(96, 4), "new")
    (pair,) = json.loads(command("v1", "v2", "--json"))["pairs"]
    assert (pair["lost"], pair["gained"], pair["p"], pair["verdict"]) == (4, 0, 0.125, "undecided")


def test_the_headline_tells_models_that_were_not_measured_anew_from_equivalent_ones(command: Command) -> None:
    """Three models: one has the same record twice, one the same outcomes measured anew, one lost samples."""
    made = {name: (record(states(1000, 40), weights=name), name[:4]) for name in ("same", "anew", "anew2", "lost")}
    made["lost2"] = (record(states(900, 140), weights="lost2"), "lost")
    for version in (("same", "anew", "lost"), ("same", "anew2", "lost2")):
        for name in version:
            RecordStore("results").append(made[name][0])
        ScoreTable("results").commit(
            [row(found, variant=variant) for found, variant in (made[name] for name in version)], {}
        )
    assert command("v1", "v2").startswith("v1 -> v2: 1 worse, 1 equivalent, 1 unchanged, of 3 models\n")
    assert "equivalent" in command("v1", "v2", "--full").split("suite")[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["diff", "", "v1"], "the name of a table is empty; give a version like v3"),
        (["gate", "--baseline", " "], "the name of a table is empty"),
        (["plan", "--baseline", ""], "the name of a table is empty"),
        (["plan", "--version", ""], "the name of a table is empty"),
        (["leaderboard", ""], "the name of a table is empty"),
        (["leaderboard", "--version", ""], "the name of a table is empty"),
        (["run", "--until-decided", "--baseline", ""], "the name of a table is empty"),
        (["merge", ""], "the name of the results folder is empty; '.' is the current one"),
        (["verify", "--results", ""], "the name of the results folder is empty"),
        (["run", "--suite", "clean", "--variant", "vit", "--results", ""], "the name of the results folder is empty"),
    ],
)
def test_an_empty_name_of_a_table_is_one_line(
    command: Command, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    commit(".", states(100, 4), "old")  # an empty name is not the current folder
    commit("results", states(100, 4), "old")
    assert run_cli(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {message}")


def test_folders_and_files_are_sides(command: Command) -> None:
    old = commit("main", states(1000, 0), "old")
    commit("main", states(1000, 0), "other")
    commit("results", states(960, 40), "new")
    assert command("main:v1", "HEAD").startswith("main:v1 -> v1: worse\n")
    assert command("main:v1", "results").startswith("main:v1 -> results:v1: worse\n")
    Path("board.csv").write_text(rows_csv([old]), newline="")
    # The records of a file are looked up in the results, and where the other side is.
    assert command("board.csv", "main:HEAD", "--results", "nowhere").startswith("board.csv -> main:v2: equivalent\n")
    shown = command("board.csv", "HEAD", code=3)
    assert "the old record is missing from the store" in shown


@pytest.mark.parametrize(
    ("field", "changes", "words"),
    [
        ("signature", {"signature": "pgd-linf;eps=8/255;steps=100"}, "pgd-linf and pgd-linf;eps=8/255;steps=100"),
        ("stressor_code", {"stressor_code": "edited"}, "code and edited"),
        ("data", {"data": "another split"}, "data and another split"),
        ("samples", {"samples": "others"}, "samples and others"),
        ("numerics", {"numerics": "cuda;float32;torch-2.13"}, "cpu;float32;torch-2.13 and cuda;float32;torch-2.13"),
        ("ladder", {"ladder": ("1/255",)}, "2/255 4/255 and 1/255"),
        ("scale", {"scale": "full"}, "small and full"),
        ("suite_version", {"suite_version": 2}, "1 and 2"),
        ("protocol", {"protocol": "as-published"}, "sound and as-published"),
    ],
)
def test_what_differs_is_named_and_may_be_allowed(
    field: str, changes: dict[str, Any], words: str, command: Command
) -> None:
    commit("a", states(1000, 0), "old")
    commit("b", states(900, 100), "new", **changes)
    shown = command("a", "b", code=3)
    assert shown.splitlines()[0] == "a:v1 -> b:v1: not comparable"
    assert f"not comparable ({field}: {words}): pgd-linf@8/255" in shown
    assert "worse" not in shown.split("worse, better: ")[0]
    allowed = command("a", "b", "--allow", field)
    assert allowed.splitlines()[0] == "a:v1 -> b:v1: worse"
    assert f"compared despite differences ({field}: {words}): pgd-linf@8/255" in allowed
    content = json.loads(command("a", "b", "--allow", field, "--json"))
    assert content["allow"] == [field]
    assert [item["field"] for item in content["pairs"][0]["allowed"]] == [field]


def test_every_field_that_differs_must_be_allowed(command: Command) -> None:
    commit("a", states(1000, 0), "old")
    commit("b", states(500, 100), "new", samples="fewer", numerics="cuda")
    shown = command("a", "b", "--allow", "numerics", code=3)
    assert "not comparable (n: 1000 and 600; samples: samples and fewer)" in shown
    assert "numerics" not in shown.split("compared despite differences")[0]
    (pair,) = json.loads(command("a", "b", "--allow", "numerics", "--allow", "samples", "--json"))["pairs"]
    assert (pair["n"], pair["lost"]) == (600, 100)


def test_cells_on_one_side_only_are_listed(command: Command) -> None:
    commit("a", states(10, 0), "old", "fgsm-linf")
    commit("b", states(10, 0), "new", "noise-linf")
    shown = command("a", "b", code=3)
    assert shown.splitlines()[0] == "a:v1 -> b:v1: nothing to compare, no cell is in both tables"
    assert "only in the new table: digits vit-nano noise-linf@8/255" in shown
    assert "only in the old table: digits vit-nano fgsm-linf@8/255" in shown


def test_errors_are_shown_as_bounds(command: Command) -> None:
    commit("results", states(1000, 0), "old")
    commit("results", states(900, 60, errored=40), "new")
    shown = command("v1", "v2")
    assert "-10.0 to -6.0 [" in shown
    assert "worse (new: NaN): pgd-linf@8/255" in shown


def test_delta_and_correction(command: Command) -> None:
    commit("results", states(1000, 0), "old")
    commit("results", states(985, 15), "new")
    assert command("v1", "v2").startswith("v1 -> v2: worse")
    shown = command("v1", "v2", "--delta", "3", "--correction", "bh", "--full")
    assert shown.startswith("v1 -> v2: equivalent")
    assert "90 % interval within 3 points, two one-sided tests at 0.05" in shown
    assert "Benjamini-Hochberg-adjusted" in shown


def test_ids_are_named_on_demand(command: Command) -> None:
    commit("results", [0, 0, 1, 1, *states(96, 0)], "old")
    commit("results", [1, 0, 0, 1, *states(96, 0)], "new")
    assert "pgd-linf@8/255: lost 0; gained 2" in command("v1", "v2", "--ids")
    assert "lost 0" not in command("v1", "v2")
    (pair,) = json.loads(command("v1", "v2", "--ids", "--json"))["pairs"]
    assert (pair["lost_ids"], pair["gained_ids"]) == ([0], [2])
    assert "lost_ids" not in json.loads(command("v1", "v2", "--json"))["pairs"][0]
    claim, cell = csv.DictReader(io.StringIO(command("v1", "v2", "--ids", "--csv", "-")))
    assert (claim["unit"], claim["cells"], claim["lost_ids"]) == ("checkpoint", "1", "")
    assert (cell["unit"], cell["lost_ids"], cell["gained_ids"], cell["difference"]) == ("cell", "0", "2", "0.0")


def test_csv_holds_claims_and_cells_in_full_precision(command: Command, tmp_path: Path) -> None:
    commit("results", states(1000, 0), "old")
    commit("results", states(993, 7), "new")
    assert command("v1", "v2", "--csv", "diff.csv") == "1 claim and 1 cell written to diff.csv\n"
    content = json.loads(command("v1", "v2", "--json"))
    lines = list(csv.DictReader(io.StringIO((tmp_path / "diff.csv").read_text())))
    for line, found in zip(lines, (*content["claims"], *content["pairs"]), strict=True):
        for name in ("difference", "low", "high", "p", "detectable_drop"):
            assert float(line[name]) == found[name]
        assert line["verdict"] == found["verdict"]
    assert lines[1]["stressor"] == "pgd-linf"
    assert "lost_ids" not in lines[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["v1", "v9"], "there is v1"),
        (["v1", "elsewhere"], "'elsewhere' is neither a version like v3 or HEAD~1"),
        (["v1", "v1", "--allow", "metric"], "--allow metric: no such field"),
        (["v1", "v1", "--allow", "numeric"], "did you mean numerics?"),
        (["v1", "v1", "--delta", "-1"], "--delta -1 is not in points from 0 to 100"),
        (["v1", "v1", "--delta", "nan"], "--delta nan is not in points"),
        (["v1", "v1", "--correction", "bonferroni"], "use holm or bh"),
        (["v1", "v1", "--csv", "no/such/folder/diff.csv"], "cannot be written"),
    ],
    ids=" ".join,
)
def test_mistakes_are_one_clear_line(arguments: list[str], words: str, command: Command) -> None:
    commit("results", states(10, 0), "old")
    shown = command(*arguments, code=2)
    assert words in shown
    assert shown.count("\n") == 1
