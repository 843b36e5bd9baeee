"""Tables that cannot show a regression: empty, cut off, edited, the same, or measured by other code."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from robustbench_wb.api import staleness
from robustbench_wb.records.names import is_date
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.store.score_table import ScoreTable
from tests.store.make import record, row, states

Command = Callable[..., tuple[str, str]]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: Command) -> Command:
    """A command in a folder with two versions of the same two cells."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    clean, attacked = record(states(9, 0, 1), signature="clean", ladder=()), record(states(5, 4, 1))
    for made in (clean, attacked):
        RecordStore("results").append(made)
    rows = [row(clean, stressor="clean", strength=""), row(attacked, stressor="pgd-l2", strength="1/2")]
    for _ in range(2):
        ScoreTable("results").commit(rows, {"git": {"commit": "0123456789abcdef", "dirty": False}})
    return typed


@pytest.mark.parametrize("content", ["", '{"rows": []}', "header", "half", '{"rows": [{"suite"'])
def test_a_table_without_rows_is_refused(content: str, command: Command) -> None:
    command("leaderboard", "--csv", "board.csv")
    lines = Path("board.csv").read_text().splitlines(keepends=True)
    file = Path("cut.json" if content.startswith("{") else "cut.csv")
    file.write_text({"header": lines[0], "half": lines[0] + lines[1][:60]}.get(content, content))
    for arguments in (("gate", "--strict", "--baseline", str(file)), ("verify", str(file)), ("diff", str(file), "v1")):
        out, err = command(*arguments, code=2)
        assert (out, err.count("\n")) == ("", 1)
        assert file.name in err


def test_equal_records_are_said_to_be_equal(command: Command) -> None:
    for arguments in (("gate", "--baseline", "v1"), ("diff", "v1", "v2")):
        out, _ = command(*arguments)
        assert "no change: 2 of 2 records identical" in out
        assert "compared with itself" not in out
    out, _ = command("gate", "--baseline", "v2")
    assert "v2 is compared with itself: nothing was measured after it" in out
    assert "compared with itself" in command("diff", "HEAD", "v2")[0]
    command("baseline", "pin", "main")
    assert "no change: 2 of 2" in command("gate", "--baseline", "baselines/main.parquet")[0]


def test_one_other_record_is_a_change(command: Command) -> None:
    other = record(states(6, 3, 1), weights="new")
    RecordStore("results").append(other)
    ScoreTable("results").commit([row(other, stressor="pgd-l2", strength="1/2")], {})
    for arguments in (("gate", "--baseline", "v1"), ("diff", "v1", "v3")):
        assert "no change" not in command(*arguments)[0]


def test_a_version_of_another_commit_is_said(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def tree(commit: str) -> None:
        monkeypatch.setattr(staleness, "git_state", lambda folder: {"commit": commit, "dirty": False})

    tree("fedcba9876543210")
    told = "v2 was measured at commit 0123456789ab, and the tree is at fedcba987654: run again to judge the tree"
    assert told in command("gate", "--baseline", "v1")[0]
    tree("0123456789abcdef")
    assert "was measured at" not in command("gate", "--baseline", "v1")[0]


@pytest.mark.parametrize("strength", ["01-Feb", "1. Feb", "2026-02-01", "Feb-02"])
def test_a_strength_that_a_spreadsheet_made_a_date_is_named(strength: str, command: Command) -> None:
    command("leaderboard", "--csv", "board.csv")
    with Path("board.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.reader(file))
    place = lines[0].index("strength")
    for line in lines[1:]:
        line[place] = {"1/2": strength}.get(line[place], line[place])
    with Path("board.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(lines)
    told = f"board.csv: 1 row was edited (pgd-l2@{strength}); strength '{strength}' is a date"
    compared = command("diff", "board.csv", "v1")[0]
    assert told in compared
    assert f"pgd-l2@{strength}, a date that a spreadsheet made of a fraction" in compared
    assert told in command("gate", "--baseline", "board.csv", code=2)[1]


@pytest.mark.parametrize("strength", ["1/4", "16/255", "0.5", "4"])
def test_a_fraction_is_no_date(strength: str) -> None:
    assert not is_date(strength)
