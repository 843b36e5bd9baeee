"""Records of a large table: read in blocks, and the same as those that are read at once."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from robustbench_wb.api.compare import compare
from robustbench_wb.api.leaderboard import leaderboard
from robustbench_wb.errors import StoreError
from robustbench_wb.records.record import Record
from robustbench_wb.store import lazy_records
from robustbench_wb.store.lazy_records import LazyRecords
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.store.score_table import ScoreTable
from tests.store.make import record, row

COUNT = 12
BYTES = 17 * 4
"""Size of a record of four samples."""


class CountingStore(RecordStore):
    """A store that notes how many records are read at once."""

    def __init__(self, location: str) -> None:
        super().__init__(location)
        self.read: list[int] = []

    def find(self, keys: Sequence[str]) -> dict[str, Record]:
        self.read.append(len(keys))
        return super().find(keys)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of three records, of which two are held."""
    monkeypatch.setattr(lazy_records, "BLOCK_BYTES", 3 * BYTES)
    monkeypatch.setattr(lazy_records, "HELD_BYTES", 6 * BYTES)


@pytest.fixture
def store(tmp_path: Path) -> CountingStore:
    found = CountingStore(str(tmp_path / "results"))
    found.append(*(record(seed=seed, states=[seed % 3] * 4) for seed in range(COUNT)))
    return found


@pytest.mark.slow(2)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(places=st.lists(st.integers(0, COUNT - 1), max_size=30))
def test_any_order_gives_the_stored_records(small_blocks: None, store: CountingStore, places: list[int]) -> None:
    keys = [record(seed=seed).key for seed in range(COUNT)]
    lazy = LazyRecords(store, [*keys, "unknown", keys[0]])
    assert list(lazy) == keys
    assert "unknown" not in lazy
    store.read.clear()
    for place in places:
        assert lazy[keys[place]].identity == record(seed=place).identity
        np.testing.assert_array_equal(lazy[keys[place]].states, [place % 3] * 4)
    assert max(store.read, default=0) <= 3
    with pytest.raises(KeyError):
        lazy["unknown"]


def test_neighbours_are_read_once(small_blocks: None, store: CountingStore) -> None:
    keys = [record(seed=seed).key for seed in range(COUNT)]
    lazy = LazyRecords(store, keys)
    store.read.clear()
    for old, new in zip(keys[:6], keys[6:], strict=True):  # as a comparison of two tables asks
        assert (lazy[old].key, lazy[new].key) == (old, new)
    assert store.read == [3, 3, 3, 3]


def test_an_empty_store_has_no_records(tmp_path: Path) -> None:
    assert dict(LazyRecords(RecordStore(str(tmp_path)), ["a"])) == {}


def test_commands_say_the_same_of_a_table_whose_records_are_read_in_blocks(
    small_blocks: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = [str(tmp_path / name) for name in ("old", "new")]
    for side, place in enumerate(places):
        made = [
            (name, record(seed=at, weights=f"{side}", states=[(at + side) % 2] * 4))
            for at, name in enumerate("abcdefgh")
        ]
        RecordStore(place).append(*(one for _, one in made))
        ScoreTable(place).commit([row(one, variant=name) for name, one in made], {})
    said = []
    for few in (256, 2):
        monkeypatch.setattr("robustbench_wb.store.loaded_table.FEW", few)
        said.append((str(leaderboard(results=places[0])), compare(places[0], places[1], places[0])))
    assert said[0] == said[1]
    assert [pair.lost for pair in said[0][1].pairs] == [4, 0] * 4


def test_a_record_that_was_changed_is_an_error(store: CountingStore) -> None:
    keys = [record(seed=seed).key for seed in range(COUNT)]
    lazy = LazyRecords(store, keys)
    for path in Path(store.location).rglob("*.parquet"):
        path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(StoreError, match="cannot read results"):
        lazy[keys[0]]
