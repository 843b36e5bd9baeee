"""Parts of unfinished cells: found again whole, or not at all."""

import logging
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robustbench_wb.records.record import Record
from robustbench_wb.store.part_store import PartStore
from robustbench_wb.store.record_store import RecordStore
from tests.store.make import record


def parts(first: int, stop: int) -> list[Record]:
    """Records of two cells on a range of samples."""
    ids = np.arange(first, stop, dtype=np.int32)
    return [replace(record([0] * (stop - first), signature=f"fgsm-linf;eps={eps}/255"), ids=ids) for eps in (1, 2)]


def test_parts_are_found_by_another_process_until_they_are_removed(tmp_path: Path) -> None:
    place = str(tmp_path)
    keys = [one.key for one in parts(0, 5)]
    for span in ((0, 5), (5, 9)):
        RecordStore(place).append_part(span, parts(*span))
    found = RecordStore(place).find_parts(keys)
    assert sorted(found) == [(0, 5), (5, 9)]
    for (first, stop), records in found.items():
        assert [one.key for one in records] == keys
        assert [one.ids.tolist() for one in records] == [list(range(first, stop))] * 2
    assert RecordStore(place).find_parts(keys[::-1]) == {}  # other cells
    RecordStore(place).remove_parts(keys)
    assert RecordStore(place).find_parts(keys) == {}
    assert not (tmp_path / "parts").exists()


def test_a_damaged_part_counts_as_missing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    PartStore(str(tmp_path)).append((0, 40), parts(0, 40))
    (path,) = (tmp_path / "parts").iterdir()
    whole, keys = path.read_bytes(), [one.key for one in parts(0, 40)]
    draw = random.Random(0)
    for at in [*draw.sample(range(len(whole)), 60), len(whole) // 2]:
        changed = bytearray(whole)
        changed[at] ^= 1 << draw.randrange(8)
        path.write_bytes(changed if at != len(whole) // 2 else whole[:at])
        found = PartStore(str(tmp_path)).find(keys)
        for one, wanted in zip(found.get((0, 40), []), parts(0, 40), strict=False):
            np.testing.assert_array_equal(one.states, wanted.states)  # the change was in what is not data
            np.testing.assert_array_equal(one.losses, wanted.losses)
    assert "samples 0 to 40 are measured again" in caplog.text
