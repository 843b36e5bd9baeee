import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustbench_wb.analysis.score import score_rows
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.stats.intervals import wilson
from tests.store.make import cell, identity, measured, record, row, states


def test_a_sound_cell() -> None:
    made = record(states(7, 2, 1))
    found = row(made)
    assert (found.n, found.robust, found.broken, found.wrong, found.errored, found.not_run) == (
        10,
        7,
        2,
        1,
        0,
        0,
    )
    assert found.accuracy == found.accuracy_high == 0.7
    assert (found.low, found.high) == wilson(7, 10)
    assert (found.status, found.error) == ("ok", "")
    assert (found.forwards, found.backwards) == (41, 40)
    assert (found.parameters, found.train_seconds, found.weights) == (12345, 3.25, "weights")
    assert found.key == made.key
    assert found.ladder == "2/255 4/255"
    assert found.model_dump(include=set(cell().model_dump())) == cell().model_dump()


def test_errors_widen_the_interval_and_never_help() -> None:
    found = row(record(states(7, 1, 0, 2)), error="ValueError:\n logits")
    assert (found.accuracy, found.accuracy_high) == (0.7, 0.9)
    assert (found.low, found.high) == (wilson(7, 10).low, wilson(9, 10).high)
    assert (found.status, found.error) == ("incomplete", "ValueError: logits")


def test_a_failed_cell_is_a_row_without_numbers() -> None:
    failed = measured(None, samples=20, error="SubjectError: no")
    found = score_rows([failed])[0]
    assert (found.status, found.n, found.not_run) == ("error", 20, 20)
    assert (found.accuracy, found.accuracy_high, found.low, found.high) == (None, None, None, None)
    assert found.key == found.weights[:0] == ""


def test_samples_missing_from_the_record_were_not_run() -> None:
    found = row(record([0, 0, 4]), samples=5)
    assert (found.n, found.robust, found.not_run, found.status) == (5, 2, 3, "incomplete")
    assert (found.accuracy, found.accuracy_high) == (0.4, 1.0)


@pytest.mark.parametrize("error", ["", "all failed"])
def test_a_cell_without_any_verdict_is_an_error(error: str) -> None:
    assert row(record([3, 3]), error=error).status == "error"
    assert row(record([]), samples=0, error=error).accuracy is None


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.data())
def test_an_injected_error_never_raises_accuracy(before: list[int], data: st.DataObject) -> None:
    hit = data.draw(st.sets(st.integers(0, len(before) - 1), min_size=1))
    after = [3 if index in hit else state for index, state in enumerate(before)]
    sound, harmed = row(record(before)), row(record(after), error="boom")
    assert (harmed.accuracy is None) == (set(after) <= {3, 4})
    for column in ("accuracy", "low"):
        assert harmed.stored[column] <= sound.stored[column]
    for column in ("accuracy_high", "high"):
        assert harmed.stored[column] >= sound.stored[column]
    assert harmed.status != "ok"
    assert harmed.robust + harmed.broken + harmed.wrong + harmed.errored + harmed.not_run == harmed.n


def test_rows_keep_the_order_of_the_cells() -> None:
    given_cells = [measured(record(seed=seed), variant=name) for seed, name in enumerate("cab")]
    found: list[ScoreRow] = score_rows(iter(given_cells))
    assert [r.variant for r in found] == ["c", "a", "b"]
    assert found[1].key == identity(seed=1).key
