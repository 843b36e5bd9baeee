"""Runs that stop each cell when its verdict is certain: what they measure and say, and what others make of it."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest

from robustbench_wb.analysis.gate.sequential import SequentialRule
from robustbench_wb.api.compare import compare
from robustbench_wb.api.gate import gate
from robustbench_wb.api.leaderboard import leaderboard
from robustbench_wb.api.run import RunResult, run
from robustbench_wb.api.verify import verify
from robustbench_wb.engine import shared_rounds
from robustbench_wb.engine.cost_forecast import FREE
from robustbench_wb.engine.plan import Ladder
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.engine.schedule import Schedule
from robustbench_wb.engine.shard import Shard
from robustbench_wb.engine.task_context import LOOKS, ORDER_SEED
from robustbench_wb.errors import ExitCode, StoreError, UsageError
from robustbench_wb.records.record import Record
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.stats.sequential import sample_order
from robustbench_wb.store.part_store import PartStore
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.stressors.catalogue import parse_stressor
from tests.engine.means_model import write_model
from tests.known import known

if TYPE_CHECKING:
    from robustbench_wb.engine.task_context import TaskContext

ATTACKS = ("pgd-linf;eps=1;steps=3;restarts=1", "fgsm-l2;eps=1")
NEW = "noise-linf;eps=2/255"
"""An attack that the baseline lacks."""
SAMPLES = 200


def request(folder: Path, *stressors: str, **changes: object) -> RunRequest:
    wanted = RunRequest(
        variants=(f"{folder}/model.py:make",),
        recipe="none",
        samples=SAMPLES,
        stressors=(*ATTACKS, *stressors),
        epsilons=("2/255", "8/255"),
        device="cpu",
        executor="inline",
    )
    return wanted.model_copy(update=changes)


def decide(folder: Path, results: str, wanted: RunRequest, margin: float) -> RunResult:
    baseline = str(folder / "before")
    return run(wanted, str(folder / results), until_decided=True, baseline=baseline, margin=margin)


def attacked(rows: Sequence[ScoreRow]) -> list[ScoreRow]:
    return [row for row in rows if row.stressor != "clean"]


def numbers(rows: Sequence[ScoreRow]) -> list[dict[str, object]]:
    """All columns but times; the probe of the tests looks at fewer samples in this process than in others."""
    return [row.model_dump(exclude={"seconds", "train_seconds", "checksum", "checks"}) for row in rows]


def record_of(folder: Path, results: str, row: ScoreRow) -> Record:
    return RecordStore(str(folder / results)).find([row.key])[row.key]


@pytest.fixture(scope="module")
def worse(cache: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunResult]:
    """A folder with a baseline and a version that is much worse, and the run that stopped early."""
    folder = tmp_path_factory.mktemp("worse")
    write_model(folder)
    run(request(folder), str(folder / "before"))
    write_model(folder, every=7)
    return folder, decide(folder, "after", request(folder, NEW), margin=2)


def test_shards_of_a_look_wait_for_those_before_it_and_stopped_ladders_have_none() -> None:
    ladders = tuple(Ladder((parse_stressor(name),)) for name in ("clean", "fgsm-linf;eps=8/255", "noise-linf;eps=1/8"))
    context = SimpleNamespace(
        samples=range(8),
        subjects=[None],
        ladders=lambda plan: ladders,
        ladder=lambda subject, place: ladders[place],
        cost=lambda plan: FREE,
        progress=SimpleNamespace(plan_less=lambda seconds: None),
    )
    schedule = Schedule([cast("TaskContext", context)])
    shard = partial(Shard, task=0, subject=0)
    looks = [shard(ladder=place, first=4 * (look - 1), stop=4 * look, look=look) for look in (1, 2) for place in (1, 2)]
    clean = known(schedule.take())
    assert schedule.finish(clean, looks[::-1]) == 1
    one, other = known(schedule.take()), known(schedule.take(clean))
    assert {one, other} == set(looks[:2])
    assert schedule.take(one) is None  # the second look waits
    assert not schedule.is_finished
    schedule.finish(one)
    assert schedule.take(one) is None
    schedule.put_back(other)
    assert schedule.take(one) == other
    schedule.drop(other.place)
    assert schedule.finish(other) == 1
    last = known(schedule.take(one))
    assert (last.look, last.place) == (2, one.place)
    assert schedule.finish(last) == 1
    assert schedule.is_finished


def test_the_order_is_that_of_the_sequential_gate() -> None:
    assert SequentialRule().seed == ORDER_SEED


def test_a_clear_regression_stops_early_with_the_verdict_of_the_gate(worse: tuple[Path, RunResult]) -> None:
    folder, result = worse
    clean, *rows = result.rows
    stopped, others = [row for row in rows if row.is_stopped], [row for row in rows if not row.is_stopped]
    assert [row.stressor for row in stopped] == ["pgd-linf"] * 2 + ["fgsm-l2"] * 2
    assert [row.stressor for row in others] == ["noise-linf"] * 2
    assert {row.n for row in (clean, *others)} == {SAMPLES}
    assert all(row.n <= SAMPLES // 2 and row.planned == SAMPLES and row.status == "ok" for row in stopped)
    assert {row.stopped.partition(": ")[2] for row in stopped} == {"the drop exceeds the margin of 2 points"}
    found = known(result.gate)
    again = gate(str(folder / "before"), results=str(folder / "after"), margin=2)
    assert again.exit_code == ExitCode.REGRESSION
    decisions = [(one.outcome, one.used, one.adjusted_p) for one in again.judgements if one.outcome != "doubtful"]
    assert decisions == [
        (one.outcome, one.used, one.adjusted_p) for one in found.judgements if one.outcome != "doubtful"
    ]
    assert {outcome for outcome, *_ in decisions} == {"regressed"}
    for one in again.judgements:
        row = known(one.row)
        if row.is_stopped and one.used is not None:
            looks = [-(-SAMPLES * number // LOOKS) for number in range(LOOKS + 1)]
            assert row.n in looks  # and the last look was not enough for the whole ladder
            assert one.used <= row.n
    assert "regressed" in str(result)


def test_its_records_are_those_of_all_samples_cut_off(worse: tuple[Path, RunResult]) -> None:
    folder, result = worse
    whole = run(request(folder), str(folder / "whole"))
    for row, full in zip(attacked(result.rows), attacked(whole.rows), strict=False):
        one, other = record_of(folder, "after", row), record_of(folder, "whole", full)
        assert one.ids.tolist() == sorted(other.ids[sample_order(other.ids.astype(np.int64), ORDER_SEED)][: row.n])
        assert one.key == row.key != full.key
        places = np.searchsorted(other.ids, one.ids)
        for name in ("states", "forwards", "backwards"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name)[places])


def test_the_same_command_measures_nothing_again(worse: tuple[Path, RunResult]) -> None:
    folder, result = worse
    again = decide(folder, "after", request(folder, NEW), margin=2)
    assert (again.measured, again.reused) == (0, len(result.rows))
    assert numbers(again.rows) == numbers(result.rows)


def test_others_do_not_take_a_stopped_cell_for_a_whole_one(worse: tuple[Path, RunResult]) -> None:
    folder, result = worse
    before, after = str(folder / "before"), str(folder / "after")
    compared = compare(before, after)
    assert [pair.verdict for pair in compared.pairs if pair.new.is_stopped] == ["undecided"] * 4
    assert [claim.cells for claim in compared.claims] == [1]  # clean
    assert "4 evaluations were stopped by a decision" in compared.notes[0]
    board = leaderboard(after)
    ranked = {cell for panel in board.headline.panels for column in panel.columns for cell in column.cells}
    assert ranked == {"clean", "noise-linf@2/255", "noise-linf@8/255"}
    assert len(board.rows) == len(result.rows)
    with pytest.raises(UsageError, match="leave out scope and seed"):
        gate(before, results=after, margin=2, sequential=True, seed=1)
    with pytest.raises(UsageError, match="leave out scope and seed"):
        gate(before, results=after, margin=2, sequential=True, scope="samples")


def test_it_is_verified_and_measured_again(worse: tuple[Path, RunResult]) -> None:
    folder, _ = worse
    found = verify(results=str(folder / "after"), rerun=40, trust_code=True)
    assert found.exit_code == ExitCode.OK, found
    assert {one.row.is_stopped for one in found.reruns} == {True, False}


def test_an_equal_model_stops_as_no_worse(worse: tuple[Path, RunResult]) -> None:
    folder, _ = worse
    write_model(folder, times=1.25)
    result = decide(folder, "equal", request(folder), margin=10)
    write_model(folder, every=7)
    assert all(row.n < SAMPLES for row in attacked(result.rows))
    assert {row.stopped for row in attacked(result.rows)} == {
        f"passed against {folder}/before:v1: the drop is smaller than the margin of 10 points"
    }
    assert {one.outcome for one in known(result.gate).judgements} == {"passed"}


def test_a_run_that_is_killed_goes_on_where_it_was(
    worse: tuple[Path, RunResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, result = worse
    append, written = PartStore.append, list[tuple[int, int]]()

    def kill(store: PartStore, span: tuple[int, int], records: Sequence[Record]) -> None:
        if len(written) == 5:
            raise StoreError("the machine went down")
        append(store, span, records)
        written.append(span)

    with monkeypatch.context() as patch:
        patch.setattr(PartStore, "append", kill)
        with pytest.raises(StoreError):
            decide(folder, "killed", request(folder, NEW), margin=2)
    kept = {path: path.stat().st_mtime_ns for path in (folder / "killed" / "parts").iterdir()}
    resumed = decide(folder, "killed", request(folder, NEW), margin=2)
    assert numbers(resumed.rows) == numbers(result.rows)
    parts = {path: path.stat().st_mtime_ns for path in (folder / "killed" / "parts").iterdir()}
    both = kept.keys() & parts.keys()  # a ladder that got all its samples has no parts any more
    assert len(kept) == 5
    assert len(both) >= 3
    assert all(parts[path] == kept[path] for path in both)


@pytest.mark.slow(5)
def test_models_that_share_perturbed_samples_stop_as_well(
    cache: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = tuple(f"{tmp_path}/{name}.py:make" for name in ("model", "other"))
    stressors = ("contrast;severity=3", "pgd-linf;eps=8/255;steps=3;restarts=1")
    wanted = request(tmp_path, variants=models, stressors=stressors, epsilons=())
    write_model(tmp_path)
    (tmp_path / "other.py").write_text((tmp_path / "model.py").read_text())
    run(wanted, str(tmp_path / "before"))
    write_model(tmp_path, every=7)
    alone = decide(tmp_path, "alone", wanted, margin=2)
    monkeypatch.setattr(shared_rounds, "in_rounds", lambda context: True)
    together = decide(tmp_path, "together", wanted, margin=2)
    assert numbers(together.rows) == numbers(alone.rows)
    assert [row.is_stopped for row in alone.rows if row.stressor == "pgd-linf"] == [True, False]
    assert {row.n for row in alone.rows if row.stressor == "contrast"} == {SAMPLES}


@pytest.mark.slow(10)
def test_several_processes_stop_at_the_same_samples(worse: tuple[Path, RunResult]) -> None:
    folder, result = worse
    wanted = request(folder, NEW, executor="processes", workers=2)
    assert numbers(decide(folder, "two", wanted, margin=2).rows) == numbers(result.rows)


def test_a_ladder_goes_on_until_all_its_cells_are_decided(worse: tuple[Path, RunResult]) -> None:
    _, result = worse
    by_attack = [[row.n for row in result.rows if row.stressor == name] for name in ("pgd-linf", "fgsm-l2")]
    assert all(first == second for first, second in by_attack)
    used = {known(one.row).cell: known(one.used) for one in known(result.gate).judgements if one.used is not None}
    for name, (n, _) in zip(("pgd-linf", "fgsm-l2"), by_attack, strict=True):
        needed = max(used[f"{name}@2/255"], used[f"{name}@8/255"])
        looks = [-(-SAMPLES * number // LOOKS) for number in range(LOOKS + 1)]
        assert n == next(stop for low, stop in pairwise(looks) if low < needed <= stop)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"until_decided": True}, "until_decided compares with a baseline"),
        ({"baseline": "v1"}, "add until_decided"),
        ({"margin": 1.0}, "add until_decided"),
        ({"until_decided": True, "baseline": "v1", "margin": -1.0}, "margin"),
    ],
)
def test_mistakes_are_found_before_anything_is_measured(given: dict[str, object], words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        run(RunRequest(), str(tmp_path), **given)  # type: ignore[arg-type]


def test_a_run_that_the_baseline_knows_nothing_of_does_not_pass(worse: tuple[Path, RunResult]) -> None:
    folder, _ = worse
    told = str(decide(folder, "another", request(folder, variants=("vit",), samples=20), margin=2))
    assert "nothing was compared; the baseline has none of these evaluations" in told
    assert "5 cells of the version are not in the baseline, and not tested" in " ".join(told.split())
    assert "passed" not in told


def test_the_exit_code_that_a_run_tells_is_that_of_the_gate(worse: tuple[Path, RunResult]) -> None:
    _, result = worse
    assert result.exit_code == 0
    assert "failed, a drop beyond the margin (exit code 1 of `gate`)" in str(result)
