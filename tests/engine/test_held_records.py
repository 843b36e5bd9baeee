"""Records that a large run holds in files until its end."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustbench_wb.api import run as harness
from robustbench_wb.engine import held_records
from robustbench_wb.engine.held_records import HeldRecords
from robustbench_wb.errors import UsageError
from robustbench_wb.records.record import Record
from tests.store.make import record

ARRAYS = ("ids", "states", "losses", "forwards", "backwards")


def same(one: Record, other: Record) -> bool:
    return one.key == other.key and all(
        getattr(one, name).dtype == getattr(other, name).dtype
        and np.array_equal(getattr(one, name), getattr(other, name), equal_nan=name == "losses")
        for name in ARRAYS
    )


@pytest.fixture
def no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything goes into files of 2 kB each, or larger ones for larger records."""
    monkeypatch.setattr(held_records, "MEMORY_BYTES", 100)
    monkeypatch.setattr(held_records, "FILE_BYTES", 2000)


def test_records_come_back_as_they_were(no_memory: None) -> None:
    @given(st.lists(st.lists(st.integers(0, 3), max_size=70), max_size=12))
    def check(states: list[list[int]]) -> None:
        held, given_records = HeldRecords(), [record(own, seed=seed) for seed, own in enumerate(states)]
        kept = [held.hold(one) for one in given_records]
        assert all(same(one, other) for one, other in zip(given_records, kept, strict=True))

    check()


def test_large_records_are_in_a_file_that_has_no_name(no_memory: None, cache: str) -> None:
    held, large = HeldRecords(), record([0] * 1000)
    kept = held.hold(large)
    assert isinstance(kept.states.base, np.memmap)
    assert not list((Path(cache) / "outcomes").iterdir())
    small = record([0])
    assert held.hold(small).states is small.states


def test_a_disk_without_room_is_said(no_memory: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, offset: int, size: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(UsageError, match=r"outcomes of the run cannot be kept in .*: No space left on device"):
        HeldRecords().hold(record([0] * 1000))


@pytest.mark.slow(2)
def test_a_run_is_the_same_with_its_records_in_files(no_memory: None, tmp_path: Path) -> None:
    rows = []
    for place in ("files", "memory"):
        with pytest.MonkeyPatch.context() as patch:
            if place == "memory":
                patch.setattr(held_records, "MEMORY_BYTES", 1 << 28)
            result = harness.run(
                results=str(tmp_path / place),
                variants=("vit",),
                recipe="none",
                stressors=("fgsm-linf;eps=8/255", "gaussian-noise;severity=2"),
                samples=200,
                device="cpu",
            )
        rows.append([one.model_dump(exclude={"seconds", "checksum"}) for one in result.rows])
    assert rows[0] == rows[1]
