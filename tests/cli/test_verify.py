"""``verify`` on a real small run: every edit of every column is named; what cannot be verified says so."""

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from robustbench_wb.analysis.verify.recompute import best_record
from robustbench_wb.analysis.verify.verify_result import VerifyResult
from robustbench_wb.api.run import run
from robustbench_wb.api.verify import draw, verify
from robustbench_wb.cli.app import run_cli
from robustbench_wb.engine.remeasure import NO_REQUEST
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.errors import StoreError
from robustbench_wb.records.names import suite_family
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.report.csv import rows_csv
from robustbench_wb.store.record_rows import SCHEMA as RECORD
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.store.score_table import SCHEMA, ScoreTable
from tests.store.make import record, row, states

ATTACKS = RunRequest(
    variants=("vit",),
    recipe="none",
    samples=40,
    stressors=("pgd-linf;eps=8/255;steps=2",),
    epsilons=("2/255", "8/255"),
    device="cpu",
    layers=True,
)
WORDS = RunRequest(suite="clean", tasks=("sentences-lm",), variants=("vit",), recipe="none", samples=8, device="cpu")
CLOSED = {"status": ("ok", "incomplete"), "protocol": ("sound", "as-published"), "grade": ("A", "B")}
"""Columns with a closed list of values, and two of them."""
OPTIONAL = ("pixels", "calibration", "max_logits", "text_measures")
"""Columns of a record that only some records have."""
NUMBERS = [name for name, field in ScoreRow.model_fields.items() if field.annotation in (int, float, float | None)]


@pytest.fixture(scope="module")
def finished(cache: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A results folder with an attacked image classifier and a language model, neither trained."""
    place = str(tmp_path_factory.mktemp("verify") / "results")

    for request in (ATTACKS, WORDS):
        run(request, place)
    return place


@pytest.fixture
def results(finished: str, tmp_path: Path) -> str:
    """A copy that may be harmed."""
    return str(shutil.copytree(finished, tmp_path / "results"))


Command = Callable[..., str]


@pytest.fixture
def command(typed: Callable[..., tuple[str, str]]) -> Command:
    def verified(*arguments: str, code: int = 0) -> str:
        out, err = typed(*arguments, "--progress", "none", code=code)
        return out or err

    return verified


def places(found: VerifyResult) -> list[tuple[int, str]]:
    return [(item.number, item.column) for item in found.discrepancies]


def other(value: Any) -> Any:
    """A value near by of the same kind."""
    if isinstance(value, str):
        return f"{value}x"
    if isinstance(value, int):
        return value + 1
    return 1.5 if value is None else value * 0.999 if value else 1e-3


def edited_columns(rows: list[ScoreRow], index: int) -> list[str]:
    """Columns of a row that hold something, and can hold something else."""
    found = []
    for name in ScoreRow.model_fields:
        value = getattr(rows[index], name)
        try:
            changed = ScoreRow.model_validate({**rows[index].model_dump(), name: other(value)})
        except ValueError:
            continue  # of a closed list, or out of range: it cannot even be read, see below
        if getattr(changed, name) != value:
            found.append(name)
    return found


def test_a_real_run_is_verified(finished: str, command: Command) -> None:
    shown = command("verify", "--results", finished)
    assert shown.startswith("v2: verified\n4 of 4 rows recomputed from their records\n")
    found = verify("latest", finished)
    # What the page lists, and nothing else, rests on the checksum alone.
    page = (Path(__file__).parents[2] / "docs" / "verify.md").read_text(encoding="utf-8")
    listed = page.split("<!-- checksum alone -->")[1].split("<!--")[0]
    assert set(found.sealed_only) == {name for name in ScoreRow.model_fields if f"`{name}`" in listed}
    assert (found.unsealed, found.context, found.exit_code) == (0, 0, 0)


@pytest.mark.parametrize("index", [2, pytest.param(3, marks=pytest.mark.slow)], ids=["attacked", "language"])
@pytest.mark.parametrize("name", ScoreRow.model_fields)
def test_every_edit_of_a_file_is_named(name: str, index: int, finished: str, tmp_path: Path) -> None:
    rows = ScoreTable(finished).rows()
    before = getattr(rows[index], name)
    value = CLOSED[name][before == CLOSED[name][0]] if name in CLOSED else other(before)
    changed = [*rows[:index], rows[index].model_copy(update={name: value}), *rows[index + 1 :]]
    board = tmp_path / "board.csv"
    board.write_text(rows_csv(changed), newline="")
    if name not in edited_columns(rows, index) and name not in CLOSED:  # no table can hold the value
        with pytest.raises(StoreError, match=rf"{name}.*row {index + 1}|row {index + 1}.*{name}"):
            verify(str(board), finished)
        return
    found = verify(str(board), finished)
    assert (found.exit_code, places(found)) == (5, [(index + 1, name)])
    (item,) = found.discrepancies
    if name != "checksum":
        assert (item.written, item.found) == (value, before)


@pytest.mark.parametrize("index", [2, pytest.param(3, marks=pytest.mark.slow)], ids=["attacked", "language"])
def test_every_edited_number_of_the_table_itself_is_named(index: int, results: str, tmp_path: Path) -> None:
    """Written by other hands as the next version."""
    rows = ScoreTable(results).rows()
    for name in set(edited_columns(rows, index)) & set(NUMBERS):
        value = other(getattr(rows[index], name))
        changed = [*rows[:index], rows[index].model_copy(update={name: value}), *rows[index + 1 :]]
        content = pa.Table.from_pylist([one.model_dump() for one in changed], schema=SCHEMA)
        shutil.copytree(f"{results}/scores", tmp_path / name / "scores")
        write_deltalake(str(tmp_path / name / "scores"), content, mode="overwrite")
        found = verify(str(tmp_path / name), results)
        assert (found.name, found.exit_code, places(found)) == (f"{tmp_path / name}:v3", 5, [(index + 1, name)])


@pytest.mark.slow(3)
def test_a_table_without_history_names_what_other_rows_tell(results: str) -> None:
    rows = ScoreTable(results).rows()
    for name in edited_columns(rows, 2):
        value = other(getattr(rows[2], name))
        changed = [*rows[:2], rows[2].model_copy(update={name: value}), *rows[3:]]
        content = pa.Table.from_pylist([one.model_dump() for one in changed], schema=SCHEMA)
        shutil.rmtree(f"{results}/scores")
        empty = pa.Table.from_pylist([], schema=SCHEMA)
        write_deltalake(f"{results}/scores", empty)
        write_deltalake(f"{results}/scores", content, mode="overwrite")
        found = verify("v1", results)
        assert found.exit_code == 5
        if name == "layers":  # it says itself what it holds, and nothing else does
            assert (3, "checksum") in places(found)
            assert "layers" in found.discrepancies[-1].reason
        else:
            assert places(found) == [(3, name)]


def test_a_value_out_of_range_is_named_too(results: str, tmp_path: Path, command: Command) -> None:
    board = tmp_path / "board.csv"
    lines = list(csv.DictReader(io.StringIO(rows_csv(ScoreTable(results).rows()))))
    lines[1]["accuracy"] = "1.5"
    with board.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    shown = command("verify", str(board), "--results", results, code=2)
    assert "do not fit this release (accuracy): row 2: Input should be less than or equal to 1" in shown


def test_several_edits_of_a_row_are_all_named(results: str, tmp_path: Path, command: Command) -> None:
    rows = ScoreTable(results).rows()
    update = {"accuracy": 0.5, "seconds": 1e-4, "parameters": 7, "grade": "A"}
    board = tmp_path / "board.csv"
    board.write_text(rows_csv([rows[0], rows[1].model_copy(update=update), *rows[2:]]), newline="")
    content = json.loads(command("verify", str(board), "--results", results, "--json", code=5))
    assert {item["column"]: item["found"] for item in content["discrepancies"]} == {
        name: getattr(rows[1], name) for name in update
    }
    assert content["exit_code"] == 5
    shown = command("verify", str(board), "--results", results, code=5)
    assert shown.startswith(f"{board}: failed, a value does not match (exit code 5)\n")


def test_numbers_that_carry_a_new_checksum_are_still_held_against_the_record(results: str) -> None:
    """Whoever edits a number can also make the checksum; only the records know better."""
    rows = ScoreTable(results).rows()
    better = rows[2].model_copy(update={"robust": rows[2].robust + 1, "accuracy": 1.0}).with_checksum()
    ScoreTable(results).commit([better], {})
    found = verify("latest", results)
    assert places(found) == [(3, "accuracy"), (3, "robust")]
    assert {item.reason for item in found.discrepancies} == {"recomputed from the record"}


def test_rows_without_checksum_are_counted_and_recomputed(results: str) -> None:
    early = {"checksum": "", "flops": 0, "peak_memory": 0}
    rows = [one.model_copy(update=early) for one in ScoreTable(results).rows()]
    ScoreTable(results).commit(rows, {})
    found = verify("latest", results)
    assert (found.exit_code, found.unsealed) == (0, 4)
    for name, value in (("accuracy", 0.9), ("parameters", 7), ("grade", "F"), ("weights", "0" * 64), ("key", "1" * 64)):
        ScoreTable(results).commit([rows[0], rows[1].model_copy(update={name: value}), *rows[2:]], {})
        assert places(verify("latest", results)) == [(2, name)]


def test_a_removed_checksum_is_named(results: str) -> None:
    rows = ScoreTable(results).rows()
    ScoreTable(results).commit([rows[1].model_copy(update={"checksum": "", "family": "mine"})], {})
    found = verify("latest", results)
    assert (found.exit_code, places(found)) == (5, [(2, "checksum")])


def test_a_row_renamed_to_another_cell_stands_out(results: str, tmp_path: Path) -> None:
    rows = ScoreTable(results).rows()
    board = tmp_path / "board.csv"
    board.write_text(rows_csv([*rows, rows[0]]), newline="")
    found = verify(str(board), results)
    assert places(found) == [(1, "cell"), (5, "cell")]


@pytest.mark.parametrize(
    ("column", "removed"),
    # The record has no pixel counts or outputs of the model that could be removed.
    [(name, removed) for name in RECORD.names for removed in (False, True) if name not in OPTIONAL or not removed],
)
def test_every_edit_of_a_record_is_named(column: str, removed: bool, results: str) -> None:
    place, rows = f"{results}/records", ScoreTable(results).rows()
    content = DeltaTable(place).to_pyarrow_table()
    changed = content.to_pylist()
    for entry in changed:
        if entry["key"] == rows[1].key:
            value = entry[column]
            is_list = pa.types.is_list(content.schema.field(column).type)
            some = [other(one) for one in value or [0]] if is_list else other(value)
            entry[column] = None if removed else some
    write_deltalake(place, pa.Table.from_pylist(changed, schema=content.schema), mode="overwrite")
    found = verify("latest", results)
    assert (found.exit_code, found.recomputed, places(found)) == (5, 3, [(2, "record")])
    (reason,) = {item.reason for item in found.discrepancies}
    assert rows[1].key in reason
    if column != "key":
        with pytest.raises(StoreError, match=rows[1].key):
            RecordStore(results).find([one.key for one in rows])


def test_missing_records_are_4(results: str, tmp_path: Path, command: Command) -> None:
    rows = ScoreTable(results).rows()
    board = tmp_path / "board.csv"
    board.write_text(rows_csv(rows), newline="")
    shown = command("verify", str(board), "--results", str(tmp_path / "nowhere"), code=4)
    assert f"no record in the store\nrow 1: digits smoke {rows[0].suite}: vit-nano none seed 0, clean\n" in shown


def test_what_failed_has_no_record_and_its_counts_add_up(tmp_path: Path) -> None:
    place = str(tmp_path)
    whole, part = row(None, 20, "SubjectError: no", variant="a"), row(record(states(5, 3, 1, 1)), error="NaN")
    ScoreTable(place).commit([whole, part], {})
    found = verify("latest", place)
    assert (found.exit_code, found.unrecorded, found.recomputed) == (0, 2, 0)
    for name in ("accuracy", "low", "high", "accuracy_high", "not_run", "robust", "errored", "n"):
        edited = part.model_copy(update={name: other(getattr(part, name)), "checksum": ""})
        ScoreTable(place).commit([edited], {})
        assert verify("latest", place).exit_code == 5, name


def test_a_baseline_is_verified_with_and_without_its_store(results: str, tmp_path: Path) -> None:
    file = str(tmp_path / "main.parquet")
    assert run_cli(["baseline", "pin", "main", "--to", file, "--results", results]) == 0
    assert verify(file, results).exit_code == 0
    alone = verify(file, str(tmp_path / "nowhere"))
    assert (alone.exit_code, alone.recomputed) == (0, 4)
    assert {"forwards", "backwards", "seconds", "wobble"} <= set(alone.sealed_only)
    assert verify(file, results, rerun=5).exit_code == 0
    refused = verify(file, str(tmp_path / "nowhere"), rerun=5)
    assert (refused.exit_code, {one.reason for one in refused.reruns}) == (3, {NO_REQUEST})


@pytest.mark.slow(2)
def test_samples_measured_again_come_out_as_stored(results: str, command: Command) -> None:
    shown = command("verify", "--results", results, "--rerun", "30", "--seed", "5")
    assert "measured again, drawn with seed 5\n" in shown
    found = verify("latest", results, rerun=30, seed=5)
    assert shown.count(": same states and losses\n") == len(found.reruns) >= 3
    assert sum(len(one.ids) for one in found.reruns) == 30
    assert [one.ids for one in found.reruns] != [one.ids for one in verify("latest", results, rerun=30).reruns]


def test_samples_of_a_table_that_an_earlier_release_named_are_measured_again(results: str) -> None:
    rows = ScoreTable(results).rows()
    early = [one.model_copy(update={"suite": suite_family(one.suite)}).with_checksum() for one in rows[:3]]
    place = f"{results}-early"
    ScoreTable(place).commit(early, ScoreTable(results).info(1).provenance)
    shutil.copytree(f"{results}/records", f"{place}/records")
    assert early[0].suite == "adversarial-custom" != rows[0].suite
    found = verify("latest", place, rerun=6)
    assert (found.exit_code, [one.reason for one in found.reruns]) == (0, [""] * len(found.reruns))
    assert found.reruns


@pytest.mark.slow(2)
def test_a_forged_record_is_found_by_measuring_again(results: str, command: Command) -> None:
    """All digests and checksums are in order; the outcomes are not those of the subject."""
    rows, store = ScoreTable(results).rows(), RecordStore(results)
    target = rows[2]
    true = store.find([target.key])[target.key]
    forged = type(true)(**{**true.__dict__, "states": np.zeros_like(true.states)})
    content = DeltaTable(store.uri).to_pyarrow_table()
    rest = content.filter(pa.compute.not_equal(content["key"], target.key))
    write_deltalake(store.uri, rest, mode="overwrite")
    RecordStore(results).append(forged)
    ones = {"robust": 40, "broken": 0, "wrong": 0, "accuracy": 1.0, "accuracy_high": 1.0}
    ends = {"high": 1.0, "low": row(record([0] * 40)).low, "checks": "", "grade": ""}
    ScoreTable(results).commit([target.model_copy(update={**ones, **ends}).with_checksum()], {})
    assert verify("latest", results).exit_code == 0
    found = verify("latest", results, rerun=1000)
    wrong = np.flatnonzero(true.states != 0)
    assert [tuple(true.ids[wrong].tolist()) if one.number == 3 else () for one in found.reruns] == [
        one.states for one in found.reruns
    ]
    shown = command("verify", "--results", results, "--rerun", "1000", code=5)
    assert "pgd-linf@8/255: samples" in shown
    assert f"different state for {true.ids[wrong][0]}, " in shown


def test_a_subject_that_is_another_one_cannot_be_measured_again(
    results: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "robustbench_wb.engine.task_context.numerics", lambda device, deterministic: "abacus;float32;torch-0"
    )
    shown = command("verify", "--results", results, "--rerun", "4", code=3)
    assert "cannot be measured again: numerics: cpu;float32;torch" in shown
    assert "is now abacus;float32;torch-0" in shown


def test_every_sample_is_drawn_at_most_once_and_ids_not_rows_are_named() -> None:
    made = [record([0] * 5, seed=seed) for seed in range(3)]
    rows = [row(one, seed=seed) for seed, one in enumerate(made)]
    records = {one.key: one for one in made}
    drawn = draw(rows, [best_record(one, records) for one in rows], count=12, seed=0)
    counts = [len(one.ids) for _, one in drawn]
    assert sum(counts) == 12
    assert all(len(set(one.ids.tolist())) == len(one.ids) for _, one in drawn)
    assert sum(len(one.ids) for _, one in draw(rows, [*made], count=100, seed=0)) == 15
    assert draw(rows, [None] * 3, count=5, seed=0) == []


@pytest.mark.parametrize("arguments", [("--rerun", "-1"), ("--seed", "-1")])
def test_numbers_below_0_are_refused(arguments: tuple[str, str], results: str, command: Command) -> None:
    shown = command("verify", "--results", results, *arguments, code=2)
    assert shown == f"error: {arguments[0]} is from 0 to 2^{31 if arguments[0] == '--rerun' else 63} - 1, not -1\n"
