"""A run that finds a part of its records: the rest is measured and added, and the table is made of what is stored."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from deltalake import DeltaTable

from robustbench_wb.api.run import RunResult, run
from robustbench_wb.api.verify import verify
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.records.record import Record
from robustbench_wb.store.record_store import RecordStore

LADDER = RunRequest(
    variants=("vit",),
    recipe="none",
    samples=12,
    stressors=("pgd-linf;eps=1;steps=2", "fgsm-l2;eps=1"),
    epsilons=("1/255", "8/255", "32/255"),
    device="cpu",
)
ELAPSED = {"seconds", "checksum"}


@pytest.fixture(scope="module")
def whole(cache: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, RunResult]:
    """A results folder with an undisturbed run, and its result."""
    place = str(tmp_path_factory.mktemp("whole"))
    return place, run(LADDER, place)


def without_times(result: RunResult) -> list[dict[str, object]]:
    return [row.model_dump(exclude=ELAPSED) for row in result.rows]


def stored_keys(place: str) -> list[str]:
    keys: list[str] = DeltaTable(f"{place}/records").to_pyarrow_table()["key"].to_pylist()
    return keys


@pytest.mark.parametrize("known", [(0,), (1, 3), (0, 2), (0, 1, 2, 4)])
def test_only_the_missing_cells_of_a_ladder_are_added(
    known: tuple[int, ...], whole: tuple[str, RunResult], tmp_path: Path
) -> None:
    place, undisturbed = whole
    keys = [undisturbed.rows[index].key for index in known]
    RecordStore(str(tmp_path)).append(*RecordStore(place).find(keys).values())
    resumed = run(LADDER, str(tmp_path))
    assert without_times(resumed) == without_times(undisturbed)
    assert (resumed.reused, resumed.measured) == (len(known), len(undisturbed.rows) - len(known))
    assert [resumed.rows[index].seconds for index in known] == [undisturbed.rows[index].seconds for index in known]
    assert len(set(stored_keys(str(tmp_path)))) == len(stored_keys(str(tmp_path))) == len(stored_keys(place))
    assert verify("latest", str(tmp_path)).exit_code == 0


def test_a_run_whose_cells_another_run_stores_meanwhile_takes_those(
    whole: tuple[str, RunResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, undisturbed = whole
    RecordStore(str(tmp_path)).append(*RecordStore(place).find(stored_keys(place)).values())

    def nothing(store: RecordStore, keys: Sequence[str]) -> Mapping[str, Record]:
        return {}

    with monkeypatch.context() as patch:
        patch.setattr(RecordStore, "find", nothing)  # it looks before the other run stores them
        late = run(LADDER, str(tmp_path))
    assert late.rows == undisturbed.rows
    assert sorted(stored_keys(str(tmp_path))) == sorted(stored_keys(place))
    assert verify("latest", str(tmp_path)).exit_code == 0
