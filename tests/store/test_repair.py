"""Damaged files of every kind: named by every command, moved aside by ``repair``, and what is intact stays."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from robustbench_wb.api.repair import repair
from robustbench_wb.api.vacuum import vacuum
from robustbench_wb.errors import StoreError, UsageError
from robustbench_wb.records.names import label
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.store.score_table import ScoreTable
from tests.cli.conftest import typed  # noqa: F401
from tests.store.make import record, row

MADE = [record(seed=seed) for seed in range(4)]
ROWS = [row(one, seed=seed) for seed, one in enumerate(MADE)]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Results with four records, each in its own file and version."""
    for number, (one, its_row) in enumerate(zip(MADE, ROWS, strict=True)):
        RecordStore(str(tmp_path)).append(one)
        ScoreTable(str(tmp_path)).commit([its_row], {"run": number})
    return tmp_path


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def commit(place: Path, table: str, number: int) -> Path:
    return place / table / "_delta_log" / f"{number:020}.json"


def data(place: Path, table: str, number: int) -> Path:
    before = set(DeltaTable(str(place / table), version=number - 1).file_uris())
    (path,) = set(DeltaTable(str(place / table), version=number).file_uris()) - before
    return Path(path)


def edit_record(place: Path) -> None:
    content = DeltaTable(str(place / "records")).to_pyarrow_table()
    changed = content.to_pylist()
    next(one for one in changed if one["key"] == MADE[1].key)["wobble"] = 3
    write_deltalake(str(place / "records"), pa.Table.from_pylist(changed, schema=content.schema), mode="overwrite")


@pytest.mark.parametrize(
    ("harm", "lost_records", "lost_versions"),
    [
        (lambda place: cut(data(place, "records", 2)), {1}, ()),
        (lambda place: data(place, "records", 2).unlink(), {1}, ()),
        (lambda place: cut(commit(place, "records", 2)), set(), ()),
        (lambda place: commit(place, "records", 2).write_bytes(b"\xff\xfe"), set(), ()),
        (lambda place: commit(place, "records", 0).write_text("[" * 100_000), set(), ()),
        (edit_record, set(), ()),  # the file of an earlier version has it as it was
        (lambda place: cut(data(place, "scores", 2)), set(), (2,)),
        (lambda place: cut(data(place, "scores", 4)), set(), (4,)),
        (lambda place: cut(commit(place, "scores", 1)), set(), (1,)),
        (lambda place: commit(place, "scores", 3).write_text(""), set(), (3,)),
    ],
)
def test_what_is_intact_stays(
    harm: Callable[[Path], object], lost_records: set[int], lost_versions: tuple[int, ...], place: Path
) -> None:
    harm(place)
    found = repair(str(place))
    assert found.versions == lost_versions
    assert found.lost == tuple(label(ROWS[at]) for at in sorted(lost_records))
    assert found.exit_code == (4 if lost_records or lost_versions else 0)
    assert found.aside
    assert Path(found.aside).is_dir()
    kept = RecordStore(str(place)).find([one.key for one in MADE])
    assert set(kept) == {one.key for at, one in enumerate(MADE) if at not in lost_records}
    table = ScoreTable(str(place))
    assert [info.number for info in table.versions()] == [1, 2, 3, 4]
    for info in table.versions():
        upto = info.number - (info.number in lost_versions)
        assert table.rows(info.number) == ROWS[:upto]
        assert info.provenance.get("run", info.number - 1) == info.number - 1
    again = repair(str(place))
    assert (again.aside, again.files, again.records, again.lost) == ("", (), (), found.lost)


def test_the_damaged_file_and_the_cure_are_named(place: Path, typed: Callable[..., tuple[str, str]]) -> None:  # noqa: F811
    harmed = data(place, "records", 3)
    cut(harmed)
    _, err = typed("verify", "--results", str(place), code=2)
    assert err.count("\n") == 1
    assert f"'{harmed}' is damaged: `robustbench-wb repair {place}` moves it aside" in err
    out, _ = typed("repair", str(place), code=4)
    assert f"measure again: {label(ROWS[2])}\n" in out
    assert f"damaged: records/{harmed.name}\n" in out
    assert "missing" not in typed("verify", "--results", str(place), code=4)[1]


def test_a_killed_repair_continues(place: Path) -> None:
    cut(data(place, "scores", 4))
    new = place / ".repaired"
    ScoreTable(str(new)).commit(ROWS[:1], {})
    repair(str(place))  # what another one has not completed is made again
    assert ScoreTable(str(place)).version() == 4
    ScoreTable(str(new)).commit(ROWS[:2], {})
    (new / "complete").touch()
    (place / "scores").rename(place / "damaged" / "scores")
    assert repair(str(place)).aside == ""
    assert ScoreTable(str(place)).rows() == ROWS[:2]


@pytest.mark.slow(2)
def test_vacuum_removes_what_no_version_needs(place: Path) -> None:
    store = RecordStore(str(place))
    store.append(*(record(seed=seed) for seed in range(4, 6)))
    for seed in range(6, 70):
        store.append(record(seed=seed))
    assert store.compact()
    left = place / "scores" / "part-left.parquet"
    for path in (left, place / ".probe-x"):
        path.write_bytes(b"left by a killed run")
    old = time.time() - 10 * 24 * 3600
    for path in place.rglob("*"):
        os.utime(path, (old, old))
    young = place / "records" / "part-young.parquet"
    young.write_bytes(b"of a run in progress")
    found = vacuum(str(place))
    assert (found.files, left.exists(), young.exists()) == (69 + 2, False, True)
    assert ScoreTable(str(place)).rows(1) == ROWS[:1]
    assert len(RecordStore(str(place)).find([record(seed=seed).key for seed in range(70)])) == 70
    assert repair(str(place)).aside == ""
    assert vacuum(str(place), days=0).files == 1
    assert vacuum(str(place), days=0).files == 0


def test_what_cannot_be_cared_for_is_refused(place: Path, tmp_path: Path) -> None:
    for care in (repair, vacuum):
        with pytest.raises(StoreError, match="URL"):
            care("memory://nowhere")
        with pytest.raises(StoreError, match="no results"):
            care(str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match="days"):
        vacuum(str(place), days=-1)
    cut(commit(place, "records", 1))
    with pytest.raises(StoreError, match="repair"):
        vacuum(str(place))
