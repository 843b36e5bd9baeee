"""Whole runs on long sequences: shortcuts beside every score, other lengths, and what is shown of them."""

import json
from pathlib import Path

import pytest

from robustbench_wb.api import run as harness
from robustbench_wb.cli.app import run_cli
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.errors import DataError
from robustbench_wb.records.record import State
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.store.record_store import RecordStore


def request(**more: object) -> RunRequest:
    given = {
        "suite": "long-sequence",
        "tasks": ("listops-64",),
        "variants": ("vit",),
        "recipe": "none",
        "samples": 80,
        "device": "cpu",
    }
    return RunRequest(**{**given, **more})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("long"))


@pytest.fixture(scope="module")
def rows(place: str) -> list[ScoreRow]:
    return list(harness.run(request(tasks=("listops-64", "planted-64")), place).rows)


@pytest.mark.slow(20)
def test_shortcuts_stand_beside_every_score(rows: list[ScoreRow], place: str) -> None:
    assert {row.status for row in rows} == {"ok"}
    own = [row for row in rows if row.variant == "vit"]
    for task, names in {
        "listops-64": {"majority", "root-operator", "root-and-literals"},
        "planted-64": {"majority", "bag-of-tokens"},
    }.items():
        attacked = {("embedding-pgd-linf", "1/4")}  # a shortcut has no vectors
        cells = {(row.stressor, row.strength) for row in own if row.task == task} - attacked
        for name in names:
            found = [row for row in rows if row.variant == f"shortcut:{name}" and row.task == task]
            assert {(row.stressor, row.strength) for row in found} == cells
            assert all(row.n == 80 and not row.shortcut for row in found)
    records = RecordStore(place).find([row.key for row in rows])
    for row in (row for row in own if row.stressor != "embedding-pgd-linf"):
        beside = [r for r in rows if (r.task, r.stressor, r.strength) == (row.task, row.stressor, row.strength)]
        best = max((r for r in beside if r.variant.startswith("shortcut:")), key=lambda r: r.accuracy or 0)
        assert row.shortcut_accuracy == best.accuracy
        right = records[row.key].states == State.ROBUST
        theirs = records[best.key].states == State.ROBUST
        assert row.shortcut_p is not None
        assert (row.shortcut_p < 0.5) == (int((right & ~theirs).sum()) > int((~right & theirs).sum()))


@pytest.mark.slow(20)
def test_an_untrained_model_is_marked(rows: list[ScoreRow], place: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["show", "v1", "--results", place]) == 0
    assert "baseline: shortcut:" in capsys.readouterr().out
    assert run_cli(["show", "v1", "--full", "--results", place]) == 0
    shown = capsys.readouterr().out
    assert "does not beat a shortcut: clean (root-and-literals" in shown
    assert "~: one-sided exact McNemar test" in shown


@pytest.mark.slow(20)
def test_cells_are_reused(rows: list[ScoreRow], place: str) -> None:
    again = harness.run(request(tasks=("listops-64", "planted-64")), place)
    assert (again.measured, again.reused) == (0, len(rows))
    assert [row.accuracy for row in again.rows] == [row.accuracy for row in rows]


@pytest.mark.slow(20)
def test_curves_by_length_are_shown_where_something_was_learnt(
    rows: list[ScoreRow], place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_cli(["curves", "v1", "--json", "--results", place]) == 0
    found = json.loads(capsys.readouterr().out)["lengths"]
    literals = next(curve for curve in found if curve["variant"] == "shortcut:root-and-literals")
    assert [point["length"] for point in literals["points"]] == [32, 64, 128, 256]
    fitted = [point["fitted"] for point in literals["points"]]
    assert fitted == sorted(fitted, reverse=True)
    assert 32 <= literals["low"] <= literals["effective"] <= literals["high"] <= 256
    assert "shortcut:majority" not in {curve["variant"] for curve in found}
    assert run_cli(["curves", "v1", "--results", place]) == 0
    assert "accuracy by length" in capsys.readouterr().out


@pytest.mark.slow(3)
def test_the_validation_split_is_another_task(tmp_path: Path) -> None:
    report = harness.run(request(suite="clean", split="validation"), str(tmp_path))
    assert {row.task for row in report.rows} == {"listops-64-validation"}
    assert report.rows[0].data != harness.run(request(suite="clean"), str(tmp_path)).rows[0].data
    with pytest.raises(DataError, match="task 'sentences' has no validation split"):
        harness.run(request(suite="clean", tasks=("sentences",), split="validation"), str(tmp_path))


@pytest.mark.slow(2)
def test_word_vectors_of_sequences_are_attacked(tmp_path: Path) -> None:
    stressors = ("embedding-pgd-linf;eps=1;steps=5",)
    rows = harness.run(request(tasks=("planted-64",), stressors=stressors), str(tmp_path)).rows
    attacked = [row for row in rows if row.stressor == "embedding-pgd-linf"]
    assert [(row.variant, row.status) for row in attacked] == [("vit", "ok")]
    assert attacked[0].shortcut == ""


def test_cut_and_empty_texts_are_counted(tmp_path: Path) -> None:
    texts = request(suite="clean", tasks=("sentences",), stressors=("text-length;length=10",))
    clean, shorter = harness.run(texts, str(tmp_path)).rows
    assert (clean.empty, shorter.empty) == (0, 0)
    assert clean.cut == 0
    assert shorter.cut is not None
    assert shorter.cut > 0.3
