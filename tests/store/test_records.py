import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from robustbench_wb.errors import StoreError
from robustbench_wb.records.record import SCHEMA_VERSION, Record
from robustbench_wb.store.record_rows import ARRAYS
from robustbench_wb.store.record_store import RecordStore
from tests.store.make import identity, record


def start(job: str, location: Path, *arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.store.workers", job, str(location), *arguments]
    root = Path(__file__).parents[2]
    return subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)


def same(first: Record, second: Record) -> bool:
    arrays = all(np.array_equal(getattr(first, a), getattr(second, a), equal_nan=a == "losses") for a in ARRAYS)
    return arrays and first.identity == second.identity and first.wobble == second.wobble


def test_a_record_comes_back_as_it_was_with_its_number_formats(tmp_path: Path) -> None:
    store = RecordStore(str(tmp_path))
    made = record([0, 1, 2, 3, 4])
    store.append(made)
    found = RecordStore(str(tmp_path)).find([made.key, "unknown"])
    assert list(found) == [made.key]
    assert same(found[made.key], made)
    assert found[made.key].seconds == made.seconds
    for name, dtype in ARRAYS.items():
        assert getattr(found[made.key], name).dtype == np.dtype(dtype)


def test_an_empty_record_and_an_empty_store(tmp_path: Path) -> None:
    store = RecordStore(str(tmp_path / "nothing here"))
    assert store.find(["a"]) == {}
    assert not store.compact()
    made = record([])
    store.append(made)
    assert same(store.find([made.key])[made.key], made)
    assert store.find([]) == {}


@pytest.mark.parametrize("name", ["a b#c%é?=&;", "nested/deeper"])
def test_awkward_folder_names(tmp_path: Path, name: str) -> None:
    store = RecordStore(str(tmp_path / name))
    made = record()
    store.append(made)
    assert same(RecordStore(str(tmp_path / name)).find([made.key])[made.key], made)
    assert (tmp_path / name / "records" / "_delta_log").is_dir()


@pytest.mark.slow(2)
def test_the_first_of_two_records_with_one_key_wins_even_after_tidying(tmp_path: Path) -> None:
    store = RecordStore(str(tmp_path))
    first, second = record([0, 0, 0]), record([1, 1, 1])
    assert store.append(first) == [first]
    # An earlier release appended without looking.
    RecordStore(str(tmp_path / "late")).append(second)
    write_deltalake(store.uri, DeltaTable(str(tmp_path / "late" / "records")).to_pyarrow_table(), mode="append")
    (kept,) = store.append(second)
    assert same(kept, first)
    for made in (record(seed=seed) for seed in range(1, 70)):
        store.append(made)
    assert same(store.find([first.key])[first.key], first)
    before = DeltaTable(store.uri).version()
    assert store.compact()
    assert same(RecordStore(str(tmp_path)).find([first.key])[first.key], first)
    assert len(DeltaTable(store.uri).file_uris()) == 1
    assert DeltaTable(store.uri, version=before).to_pyarrow_table().num_rows == 71
    assert not store.compact()


def test_arrays_of_different_lengths_are_refused(tmp_path: Path) -> None:
    made = record()
    broken = replace(made, ids=made.ids[:1])
    with pytest.raises(ValueError, match="one length"):
        RecordStore(str(tmp_path)).append(broken)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("states", [0, 0, 0, 0]),
        ("losses", [0.0, 0.0, 0.0, 0.0]),
        ("ids", [0, 1, 2, 4]),
        ("ids", None),
        ("wobble", 7),
        ("identity", "{}"),
        ("digest", "0" * 64),
    ],
)
def test_a_tampered_row_is_refused_by_name(tmp_path: Path, column: str, value: object) -> None:
    store = RecordStore(str(tmp_path))
    made = record()
    store.append(made)
    table = DeltaTable(store.uri)
    content = table.to_pyarrow_table()
    index = content.schema.get_field_index(column)
    changed = content.set_column(
        index, content.schema.field(index), pa.array([value], content.schema.field(index).type)
    )
    write_deltalake(table, changed, mode="overwrite")
    with pytest.raises(StoreError, match=made.key):
        RecordStore(str(tmp_path)).find([made.key])


def test_a_record_of_a_newer_schema_is_refused_by_name(tmp_path: Path) -> None:
    store = RecordStore(str(tmp_path))
    early, late = record(schema_version=1), record(schema_version=99)
    for made in (early, late):
        store.append(made)
    assert store.find([early.key])[early.key].identity.schema_version == 1
    with pytest.raises(
        StoreError, match=f"schema of record {late.key} is 99 and this release reads up to {SCHEMA_VERSION}"
    ):
        store.find([late.key])
    assert store.find([identity().key]) == {}


def test_a_damaged_file_is_one_clear_error(tmp_path: Path) -> None:
    store = RecordStore(str(tmp_path))
    made = record()
    store.append(made)
    for file in Path(store.uri).glob("*.parquet"):
        file.write_bytes(b"garbage" * 100)
    with pytest.raises(StoreError, match="cannot read results under"):
        RecordStore(str(tmp_path)).find([made.key])


def test_a_damaged_log_is_one_clear_error(tmp_path: Path) -> None:
    store = RecordStore(str(tmp_path))
    store.append(record())
    for file in (Path(store.uri) / "_delta_log").glob("*.json"):
        file.write_text("not json")
    with pytest.raises(StoreError, match="cannot read results under"):
        RecordStore(str(tmp_path)).find([record().key])


@pytest.mark.slow(8)
def test_kill_9_in_the_middle_of_appending_loses_nothing_that_was_reported(tmp_path: Path) -> None:
    store = RecordStore(str(tmp_path))
    keys = {seed: identity(seed=seed).key for seed in range(200)}
    for wait_for in (3, 17, 40):
        worker = start("append", tmp_path, "0", "200")
        assert worker.stdout is not None
        done = [int(worker.stdout.readline()) for _ in range(wait_for)]
        worker.kill()
        worker.wait()
        done += [int(line) for line in worker.stdout.read().split()]
        worker.stdout.close()
        found = store.find(list(keys.values()))
        assert {keys[seed] for seed in done} <= found.keys()
        assert all(len(whole.ids) == 200 for whole in found.values())
    extra = record(seed=999)
    store.append(extra)
    assert extra.key in RecordStore(str(tmp_path)).find([extra.key])


@pytest.mark.slow(10)
def test_concurrent_writers_lose_no_record_not_even_the_first(tmp_path: Path) -> None:
    workers = [start("append", tmp_path, str(100 * number), "25") for number in range(3)]
    store = RecordStore(str(tmp_path))
    while any(worker.poll() is None for worker in workers):
        store.compact()
    for worker in workers:
        worker.communicate()
    assert [worker.returncode for worker in workers] == [0, 0, 0]
    keys = [identity(seed=100 * number + i).key for number in range(3) for i in range(25)]
    assert len(store.find(keys)) == 75
