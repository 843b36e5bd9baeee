"""``history``: headline numbers over the versions of a results folder."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from robustbench_wb.report.history_screen import history_screen
from robustbench_wb.report.text_block import plain_text
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.store.score_table import ScoreTable
from tests.analysis.test_history import GOOD, WORSE, Table, history, measured
from tests.report.test_text import GOLDEN

MODELS = (("vit", True), ("crate", True), ("bilateral", False), ("boosting", True), ("bilateral-boosting", False))
Typed = Callable[..., tuple[str, str]]


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Three versions: good twice (the same records), then worse."""
    monkeypatch.chdir(tmp_path)
    return three_versions()


def three_versions() -> str:
    for number, (outcomes, weights) in enumerate(((GOOD, "a"), (GOOD, "a"), (WORSE, "b"))):
        rows, records = measured(outcomes, weights)
        for made in records.values():
            RecordStore("results").append(made)
        ScoreTable("results").commit(rows, {"git": {"commit": f"{number}123456789", "dirty": number == 2}})
    return "results"


def test_a_line_per_new_evaluation_fits_80_columns(results: str, typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robustbench_wb.cli.console.width", lambda: 80)
    out, _ = typed("history")
    lines = out.splitlines()
    assert lines[0] == "vit-nano (plain seed 0), digits, small scale, suite adversarial"
    assert lines[2].split()[::2] == ["v1", "0123456", "[76.4,"]
    assert lines[3].split()[0] == "v3"
    assert "2123456*" in lines[3]
    assert lines[3].endswith("worse")
    assert "change points of Linf 8/255: v3 (p 0.0" in out
    assert max(map(len, lines)) <= 80


def test_five_models_and_versions_are_one_screen() -> None:
    """To accept a change, delete the file, run once and read the new one."""
    tables = [
        merged(
            *(measured(outcomes if moves else GOOD, f"{name}{version if moves else 0}", name) for name, moves in MODELS)
        )
        for version, outcomes in enumerate((GOOD, GOOD, WORSE, GOOD, WORSE))
    ]
    file = GOLDEN / "history-screen.txt"
    text = plain_text(history_screen(history(*tables)))
    if not file.exists():
        file.write_text(text, encoding="utf-8")
        pytest.fail("the golden file was missing and has been written")
    assert text == file.read_text(encoding="utf-8")
    assert max(map(len, text.splitlines())) <= 80
    assert len(text.splitlines()) <= 24
    narrow = plain_text(history_screen(history(*tables), 40))
    assert "older versions: --full" in narrow.replace("\n", " ")
    assert "v5" in narrow


def merged(*tables: Table) -> Table:
    return [one for rows, _ in tables for one in rows], {key: kept for _, own in tables for key, kept in own.items()}


def test_it_is_data_as_well(results: str, typed: Typed) -> None:
    content = json.loads(typed("history", "vit", "--json")[0])
    assert [version["number"] for version in content["versions"]] == [1, 2, 3]
    [model] = content["models"]
    [main] = [one for one in model["series"] if one["main"]]
    assert [point["change"] and point["change"]["verdict"] for point in main["points"]] == [None, "worse"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["history", "vitt"], "no version under 'results' has a model 'vitt'; did you mean vit-nano?"),
        (["history", "--delta", "-1"], "--delta -1 is not in points"),
        (["history", "--results", "nowhere"], "no results under 'nowhere'"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], message: str, results: str, typed: Typed) -> None:
    assert message in typed(*arguments, code=2)[1]
