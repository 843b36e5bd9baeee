"""``leaderboard`` on a small real run: every output, and what is refused."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from robustbench_wb.cli.app import run_cli
from robustbench_wb.report.csv import COLUMNS, RANKING_COLUMNS

MODEL = """
from torch import nn
def flat(shape):
    return nn.Sequential(nn.Flatten(), nn.Linear(shape.channels * shape.height * shape.width, shape.classes))
def blind(shape):
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(shape.channels, shape.classes))
"""
RUN = ("--samples", "60", "--stressor", "pgd-linf;eps=8/255;steps=3", "--device", "cpu")
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the results of two subjects."""
    folder = tmp_path_factory.mktemp("board")
    (folder / "model.py").write_text(MODEL)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run_cli(["run", "--variant", "model.py:flat", "--variant", "model.py:blind", *RUN]) == 0
    return folder


@pytest.fixture
def command(measured: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.chdir(measured)
    monkeypatch.setenv("COLUMNS", "100")

    def call(*arguments: str) -> tuple[int, str, str]:
        code = run_cli(["leaderboard", *arguments])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return call


def test_the_terminal_shows_ranks_costs_and_scores(command: Command) -> None:
    code, out, _ = command()
    assert code == 0
    assert "1 [1, 1] a  model.py:flat " in out
    assert "2 [2, 2] b  model.py:blind" in out
    assert "Ranked by Linf 8/255 [95 % CI]." in out
    assert len(out.splitlines()) < 15
    code, out, _ = command("--full")
    assert code == 0
    assert out.index(": ranking") < out.index("Mean over all") < out.index("Cost\n") < out.index("order: by Linf 8/255")
    assert "|n:60|seed:0|numerics:cpu;float32;torch-" in out


def test_json_has_rows_rankings_and_costs(command: Command) -> None:
    content = json.loads(command("--json")[1])
    (ranking,) = content["rankings"]
    best, last = ranking["lines"]
    assert best["variant"] == "model.py:flat"
    assert best["flops"] == 2 * 64 * 10
    assert last["flops"] == 2 * 1 * 10
    assert last["peak_memory"] < best["peak_memory"] < 100_000
    accuracies = [row["accuracy"] for row in content["rows"] if row["variant"] == best["variant"]]
    assert best["score"] == pytest.approx(sum(accuracies) / 2)
    assert {row["flops"] for row in content["rows"]} == {1280, 20}


def test_every_file_is_written_at_once(command: Command, tmp_path: Path) -> None:
    names = {"--csv": "rows.csv", "--ranking-csv": "ranking.csv", "--markdown": "board.md", "--html": "board.html"}
    arguments = [part for name, file in names.items() for part in (name, str(tmp_path / file))]
    code, out, err = command(*arguments)
    assert (code, out, len(err.splitlines())) == (0, "", 4)
    assert "4 rows of v1 written to" in err
    texts = {name: (tmp_path / file).read_bytes().decode() for name, file in names.items()}
    headers = [next(csv.reader(io.StringIO(texts[name]))) for name in ("--csv", "--ranking-csv")]
    assert tuple(map(tuple, headers)) == (COLUMNS, RANKING_COLUMNS)
    for name, text in texts.items():
        assert command(name, "-")[1].rstrip("\n") == text.rstrip("\n").replace("\r\n", "\r\n")
    assert texts["--markdown"].startswith("# Robust accuracy (%) on digits")
    assert texts["--html"].startswith("<!doctype html>")


def test_the_table_can_be_named_like_a_side_of_diff(command: Command, tmp_path: Path) -> None:
    expected = command("--ranking-csv", "-")[1]
    assert command("v1", "--ranking-csv", "-")[1] == expected
    assert command("--version", "v1", "--ranking-csv", "-")[1] == expected
    assert command("results:HEAD", "--ranking-csv", "-")[1] == expected
    file = str(tmp_path / "board.csv")
    command("--csv", file)
    assert command(file, "--ranking-csv", "-")[1] == expected
    code, out, _ = command(file, "--results", str(tmp_path / "elsewhere"))
    assert code == 0
    assert "<=: an upper bound, because records are missing." in out
    assert "2 of 2 records are not in the store" in out


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--csv", "-", "--json"], "--csv and --json cannot all write to standard output"),
        (["--html", "-", "--markdown", "-"], "cannot all write to standard output"),
        (["--over-seeds", "--html", "page.html"], "--html has no means over seeds"),
        (["v1", "--version", "v1"], "given twice"),
        (["v7"], "there is no version 'v7'"),
        (["nowhere.csv"], "cannot be read"),
        (["--html", "no/such/folder/board.html"], "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_one_clear_line(command: Command, arguments: list[str], problem: str) -> None:
    code, out, err = command(*arguments)
    assert code == 2
    assert out == ""
    assert problem in err
    assert len(err.splitlines()) == 1


@pytest.mark.slow(2)
def test_one_more_cell_on_one_model_changes_no_rank_of_the_others(
    cache: str, tmp_path: Path, typed: Callable[..., tuple[str, str]]
) -> None:
    place, own = str(tmp_path), ("--recipe", "none", "--samples", "12", "--device", "cpu", "--progress", "none")
    one, more = ("--stressor", "fgsm-linf;eps=8/255"), ("--stressor", "fgsm-l2;eps=1")

    def ranked() -> list[list[tuple[str, int, float]]]:
        found = json.loads(typed("leaderboard", "--results", place, "--json")[0])["rankings"]
        return [[(line["variant"], line["rank"], line["score"]) for line in one["lines"]] for one in found]

    for variant in ("vit", "crate"):
        typed("run", *own, *one, "--variant", variant, "--results", place)
    before = ranked()
    assert [len(lines) for lines in before] == [2]
    typed("run", *own, *one, *more, "--variant", "vit", "--results", place)
    typed("run", *own, *one, "--samples", "11", "--variant", "boosting", "--results", place)
    after = ranked()
    assert after[0] == before[0]
    assert [len(lines) for lines in after] == [2, 1, 1]
