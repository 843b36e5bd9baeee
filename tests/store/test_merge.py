"""Merging of real Delta tables: union, reported differences, and no duplicates."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st

from robustbench_wb.errors import ExitCode, StoreError
from robustbench_wb.records.record import Record
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.store.merge import merge_results
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.store.score_table import ScoreTable
from tests.store.make import record, row, scored

Made = tuple[Record | None, ScoreRow]


def made(variant: str, states: Iterable[int] = (0, 1, 2, 0), **changes: Any) -> Made:
    one = record(list(states), weights=changes.pop("weights", variant), **changes)
    return one, row(one, variant=variant).model_copy(update={"weights": one.identity.weights})


def place(at: Path, *cells: Made) -> str:
    for measured, _ in cells:
        if measured is not None:
            RecordStore(str(at)).append(measured)
    ScoreTable(str(at)).commit([shown for _, shown in cells], {"command": "run"})
    return str(at)


@pytest.fixture
def shards(tmp_path: Path) -> tuple[str, str, str]:
    """Two results folders with one common row, and the path of a folder that does not exist."""
    one = place(tmp_path / "one", made("vit"), made("bert"))
    other = place(tmp_path / "other", made("crate"), made("vit"))
    return one, other, str(tmp_path / "all")


def test_a_union_of_records_and_rows_in_one_version(shards: tuple[str, str, str]) -> None:
    one, other, to = shards
    found = merge_results([one, other], to, command="merge")
    assert (found.version, found.records, found.rows, found.exit_code) == (1, 3, 3, ExitCode.OK)
    table = ScoreTable(to)
    assert {shown.variant: shown for shown in table.rows()} == {
        variant: made(variant)[1] for variant in ("vit", "bert", "crate")
    }
    assert len(RecordStore(to).find([shown.key for shown in table.rows()])) == 3
    (info,) = table.versions()
    assert info.provenance["merged"] == [{"place": one, "version": 1}, {"place": other, "version": 1}]
    assert info.provenance["command"] == "merge"


def test_merging_again_changes_nothing(shards: tuple[str, str, str]) -> None:
    one, other, to = shards
    merge_results([one, other], to)
    before = [DeltaTable(f"{to}/{name}").version() for name in ("records", "scores")]
    found = merge_results([one, other], to)
    assert (found.version, found.records, found.rows) == (None, 0, 0)
    found = merge_results([other, to], to)  # merging the destination itself changes nothing either
    assert (found.version, found.records, found.rows, found.exit_code) == (None, 0, 0, ExitCode.OK)
    assert [DeltaTable(f"{to}/{name}").version() for name in ("records", "scores")] == before


@pytest.mark.slow(2)
@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 1)), min_size=1, max_size=3), min_size=1, max_size=3
    )
)
@settings(max_examples=10, deadline=None)
def test_order_changes_nothing_but_conflicts(
    tmp_path_factory: pytest.TempPathFactory, shards: list[list[tuple[str, int]]]
) -> None:
    """The result has every slot and record of the sources in any order; only conflicts depend on the order."""
    base = tmp_path_factory.mktemp("merge")
    places = []
    for number, cells in enumerate(shards):
        latest = dict(cells)  # a table has one row per slot
        shard = [made(variant, weights=f"{variant}{version}") for variant, version in latest.items()]
        places.append(place(base / str(number), *shard))
    forth, back = merge_results(places, str(base / "forth")), merge_results(places[::-1], str(base / "back"))
    assert (forth.records, forth.rows) == (back.records, back.rows)
    assert sorted(RecordStore(str(base / "forth")).keys()) == sorted(RecordStore(str(base / "back")).keys())
    rows = [{shown.slot: shown for shown in ScoreTable(str(base / name)).rows()} for name in ("forth", "back")]
    assert rows[0].keys() == rows[1].keys()
    fought = {conflict.cell for found in (forth, back) for conflict in found.conflicts}
    differing = {shown.variant for slot, shown in rows[0].items() if shown != rows[1][slot]}
    assert all(any(f" {variant}-nano" in cell for cell in fought) for variant in differing)


@pytest.mark.parametrize(
    ("change", "fields", "ids"),
    [
        ({"states": np.array([0, 0, 2, 0], dtype=np.int8)}, ("states",), (1,)),
        ({"losses": np.array([0, 9, 2 / 3, 1], dtype=np.float32)}, ("losses",), (1,)),
        ({"losses": np.array([0, np.nan, 2 / 3, 1], dtype=np.float32)}, ("losses",), (1,)),
        ({"perturbed": "other"}, ("perturbed",), ()),
        ({"ids": np.array([0, 1, 2, 5], dtype=np.int32)}, ("ids",), (3, 5)),
        ({"losses": np.array([0, 1 / 3 + 1e-6, 2 / 3, 1], dtype=np.float32)}, (), ()),
        ({"seconds": 99.0}, (), ()),
        ({"forwards": np.array([1, 2, 3, 4], dtype=np.int32)}, (), ()),
    ],
    ids=str,
)
def test_one_key_with_two_outcomes(
    change: dict[str, Any], fields: tuple[str, ...], ids: tuple[int, ...], tmp_path: Path
) -> None:
    first, shown = made("vit")
    assert first is not None
    to = place(tmp_path / "to", (first, shown))
    other = place(tmp_path / "other", (replace(first, **change), shown))
    found = merge_results([other], to)
    assert [(one.fields, one.ids, one.key) for one in found.unsteady] == ([(fields, ids, first.key)] if fields else [])
    assert found.exit_code == (ExitCode.CREDIBILITY if fields else ExitCode.OK)
    kept = RecordStore(to).find([first.key])[first.key]
    np.testing.assert_array_equal(kept.states, first.states)
    assert found.version is None
    if fields:
        assert found.unsteady[0].cells == ("digits small adversarial: vit-nano plain seed 0, pgd-linf@8/255",)


def test_missing_losses_on_both_sides_are_the_same(tmp_path: Path) -> None:
    one = scored([1.0, float("nan")])
    places = [place(tmp_path / name, (one, row(one))) for name in ("one", "other")]
    assert merge_results(places[1:], places[0]).unsteady == ()


@pytest.mark.parametrize(("prefer", "wins", "code"), [(None, "old", 3), ("mine", "old", 0), ("theirs", "new", 0)])
def test_one_slot_with_two_measurements(prefer: Any, wins: str, code: int, tmp_path: Path) -> None:
    to = place(tmp_path / "to", made("vit", weights="old"))
    other = place(tmp_path / "other", made("vit", weights="new"), made("bert"))
    found = merge_results([other], to, prefer)
    assert [(one.fields, one.kept) for one in found.conflicts] == [(("weights",), prefer)]
    assert found.exit_code == code
    rows = {shown.variant: shown.weights for shown in ScoreTable(to).rows()}
    assert rows == {"vit": wins, "bert": "bert"}
    assert len(RecordStore(to).keys()) == 3  # all records are kept, because they are addressed by content
    if prefer:
        again = merge_results([other], to, prefer)
        assert (again.version, again.rows) == (None, 0)


@pytest.mark.parametrize("swapped", [False, True])
def test_what_was_measured_stands_before_what_failed(swapped: bool, tmp_path: Path) -> None:
    whole = made("vit")
    failed: Made = (None, row(None, 4, "SubjectError: no logits", variant="vit"))
    first, second = (whole, failed) if swapped else (failed, whole)
    to, other = place(tmp_path / "to", first), place(tmp_path / "other", second)
    found = merge_results([other], to)
    assert (found.conflicts, found.exit_code) == ((), ExitCode.OK)
    assert ScoreTable(to).rows()[0].status == "ok"


def test_nothing_is_written_when_a_source_cannot_be_read(shards: tuple[str, str, str], tmp_path: Path) -> None:
    one, _, to = shards
    with pytest.raises(StoreError, match="no results under"):
        merge_results([one, str(tmp_path / "nowhere")], to)
    assert not (Path(to) / "records").exists()
    assert not (Path(to) / "scores").exists()


def test_a_merge_that_died_after_its_records_goes_on(shards: tuple[str, str, str]) -> None:
    one, other, to = shards
    RecordStore(to).append(*RecordStore(one).find(RecordStore(one).keys()).values())
    found = merge_results([one, other], to)
    assert (found.version, found.records, found.rows) == (1, 1, 3)


def test_merges_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    places = [place(tmp_path / f"shard{number}", made(f"variant{number}")) for number in range(4)]
    to = str(tmp_path / "to")
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda source: merge_results([source], to), places))
    assert sorted(one.version or 0 for one in found) == [1, 2, 3, 4]
    assert {shown.variant for shown in ScoreTable(to).rows()} == {f"variant{number}" for number in range(4)}
    assert len(RecordStore(to).keys()) == 4


def test_many_records_come_in_few_commits(tmp_path: Path) -> None:
    many = [record(seed=seed) for seed in range(130)]
    source = str(tmp_path / "many")
    RecordStore(source).append(*many)
    ScoreTable(source).commit([row(many[0])], {})
    found = merge_results([source], str(tmp_path / "to"))
    assert found.records == 130
    assert (
        len(DeltaTable(str(tmp_path / "to" / "records")).history()) == 4
    )  # creation, and three commits of at most 64 records
