"""History of headline numbers: points, verdicts against the point before, and change points."""

from collections.abc import Sequence

import pytest

from robustbench_wb.analysis.history.history_result import History, ModelHistory, TableVersion
from robustbench_wb.analysis.history.make_history import make_history
from robustbench_wb.records.record import Record
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.stats.paired import mcnemar, tango_interval
from tests.known import known
from tests.store.make import record, row, scored, states, text_row

Table = tuple[list[ScoreRow], dict[str, Record]]


def measured(pgd: Sequence[int], weights: str, variant: str = "vit", **changes: object) -> Table:
    """Model with a clean cell, one gradient step that breaks the last sample, and a strong attack."""
    n = len(pgd)
    cells = {"clean": [0] * n, "fgsm-linf": [0] * (n - 1) + [1], "pgd-linf": list(pgd)}
    rows, records = [], {}
    for stressor, outcome in cells.items():
        strength = "" if stressor == "clean" else "8/255"
        signature = f"{stressor};eps={strength}" if strength else stressor
        made = record(outcome, signature=signature, weights=weights, ladder=(), **changes)
        records[made.key] = made
        rows.append(row(made, variant=variant, stressor=stressor, strength=strength))
    return rows, records


def history(*tables: Table) -> History:
    versions = [
        (TableVersion(number=number, time=f"2026-01-0{number}T00:00:00+00:00", commit="abc"), rows)
        for number, (rows, _) in enumerate(tables, 1)
    ]
    return make_history(versions, {key: made for _, own in tables for key, made in own.items()})


def only(found: History) -> ModelHistory:
    [model] = found.models
    return model


GOOD, WORSE = states(20, 0), states(12, 8)


def test_a_drop_is_tested_on_the_joint_outcomes_by_hand() -> None:
    model = only(history(measured(GOOD, "a"), measured(WORSE, "b")))
    assert [(one.column, one.main) for one in model.series] == [("clean", False), ("Linf 8/255", True)]
    first, second = model.main.points
    # The last sample is broken by fgsm-linf alone, so 19 of 20 are robust at first, and 12 later: 7 lost, 0 gained.
    assert (first.number.robust, second.number.robust, first.change) == (19, 12, None)
    change = known(second.change)
    low, high = tango_interval([20], [7], [0])
    assert (change.difference, change.p) == (pytest.approx(-0.35), pytest.approx(float(mcnemar(7, 0))))
    assert (change.low, change.high) == (pytest.approx(float(low[0])), pytest.approx(float(high[0])))
    assert change.verdict == "worse"
    assert second.change_p == pytest.approx(float(mcnemar(7, 0)), abs=0.01)


def test_a_version_that_keeps_the_records_is_no_point() -> None:
    kept = measured(GOOD, "a")
    model = only(history(kept, kept, measured(WORSE, "b")))
    assert [one.version.number for one in model.main.points] == [1, 3]


@pytest.mark.parametrize(
    ("changes", "verdict", "reason"),
    [
        ({"data": "other"}, "not comparable", "data differs"),
        ({"numerics": "cuda"}, "not comparable", "numerics differs"),
        ({}, "worse", ""),
    ],
)
def test_what_was_measured_must_agree(changes: dict[str, str], verdict: str, reason: str) -> None:
    _, second = only(history(measured(GOOD, "a"), measured(WORSE, "b", **changes))).main.points
    change = known(second.change)
    assert (change.verdict, change.reason) == (verdict, reason)
    assert (second.change_p is None) == (verdict == "not comparable")


def test_unjudged_samples_and_missing_records_give_no_verdict() -> None:
    rows, records = measured(GOOD, "a")
    errored = measured([3, *WORSE[1:]], "b")
    points = only(history((measured(WORSE, "c")[0], {}), (rows, records), errored)).main.points
    assert [known(one.change).verdict for one in points[1:]] == ["incomplete", "incomplete"]
    reasons = [known(one.change).reason for one in points[1:]]
    assert reasons == ["3 of 3 records are not in the store", "pgd-linf@8/255 has samples without an outcome"]


def test_another_attack_in_the_ball_is_not_comparable() -> None:
    rows, records = measured(GOOD, "a")
    _, second = only(history(measured(WORSE, "b"), (rows[:2], records))).main.points
    assert known(second.change).reason == "other evaluations"


def test_perplexity_is_followed_by_its_losses() -> None:
    tables = []
    for weights, losses in (("a", [1.0, 2.0, 3.0, 1.5] * 3), ("b", [1.5, 2.6, 3.4, 2.0] * 3)):
        made = scored(losses, weights=weights)
        tables.append(([text_row(made)], {made.key: made}))
    _, second = only(history(*tables)).main.points
    assert known(second.change).verdict == "worse"
    assert known(second.change).difference == pytest.approx(0.5)


def test_the_data_frame_has_a_row_per_point() -> None:
    frame = history(measured(GOOD, "a"), measured(WORSE, "b")).to_pandas()
    assert list(frame["version"]) == [1, 2, 1, 2]
    assert list(frame[frame["main"]]["verdict"]) == ["", "worse"]
    assert list(frame[frame["main"]]["value"]) == [0.95, 0.6]
