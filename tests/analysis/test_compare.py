import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustbench_wb import equivalences
from robustbench_wb.analysis.compare.compare_tables import compare_tables
from robustbench_wb.analysis.compare.comparison import CellDifference, Comparison
from robustbench_wb.errors import ExitCode
from robustbench_wb.records.record import Record
from tests.store.make import record, row, states


def identities(field: str, value: object) -> dict[str, Any]:
    """What :func:`record` is told to change."""
    return {field: value}


def pair_of(old: Record, new: Record, **changes: Any) -> Comparison:
    return compare_tables([row(old)], [row(new, **changes)], {old.key: old, new.key: new})


def only(comparison: Comparison) -> CellDifference:
    (pair,) = comparison.pairs
    return pair


def changed(n: int, lost: int, gained: int) -> tuple[Record, Record]:
    old = [0] * lost + [1] * gained + [0] * (n - lost - gained)
    new = [1] * lost + [0] * gained + [0] * (n - lost - gained)
    return record(old), record(new, weights="other")


@pytest.mark.parametrize(
    ("n", "lost", "gained", "verdict"),
    [
        (1000, 40, 10, "worse"),
        (1000, 10, 40, "better"),
        (1000, 2, 2, "equivalent"),
        (10000, 40, 10, "equivalent"),
        (1000, 15, 9, "undecided"),
        (50, 2, 1, "undecided"),
        (50, 0, 0, "undecided"),
    ],
)
def test_every_verdict_of_a_tested_pair(n: int, lost: int, gained: int, verdict: str) -> None:
    comparison = pair_of(*changed(n, lost, gained))
    pair = only(comparison)
    assert (pair.verdict, pair.lost, pair.gained) == (verdict, lost, gained)
    assert pair.both == n - lost - gained
    assert pair.difference == pytest.approx((gained - lost) / n)
    assert pair.lost_ids == tuple(range(lost))
    assert pair.gained_ids == tuple(range(lost, lost + gained))
    assert pair.p == pair.adjusted_p
    assert pair.detectable_drop is not None
    assert comparison.exit_code == ExitCode.OK


def test_the_same_record_is_equivalent_without_looking() -> None:
    old = row(record(states(3, 3)))
    pair = only(compare_tables([old], [old], {}))
    assert (pair.verdict, pair.lost, pair.gained, pair.p) == ("equivalent", 0, 0, 1)
    assert (pair.difference, pair.low, pair.high, pair.both, pair.neither) == (0, 0, 0, 3, 3)


def test_numbers_of_different_protocols_are_not_compared() -> None:
    old, new = row(record()), row(record(weights="other"), protocol="as-published")
    failed = row(None, 4, "no subject", protocol="as-published")
    for later in (new, failed):
        comparison = compare_tables([old], [later], {})
        assert only(comparison).verdict == "not comparable"
        assert "protocol: sound and as-published" in only(comparison).reason
        assert comparison.exit_code == ExitCode.NOT_COMPARABLE


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("data", "x"),
        ("samples", "x"),
        ("signature", "pgd-linf;eps=0.031"),
        ("stressor_code", "x"),
        ("ladder", ("1/255",)),
        ("numerics", "cuda;float32;torch-2.13"),
    ],
)
def test_what_was_measured_must_agree(field: str, value: object) -> None:
    comparison = pair_of(record(), record(**identities(field, value)))
    pair = only(comparison)
    assert pair.verdict == "not comparable"
    (difference,) = pair.differing
    assert difference.field == field
    assert str(difference.old) in pair.reason
    assert str(difference.new) in pair.reason
    assert (pair.p, pair.lost) == (None, None)
    assert comparison.exit_code == ExitCode.NOT_COMPARABLE


def test_code_that_is_listed_as_equivalent_agrees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = tmp_path / "equivalences.json"
    pairs = [("first", "second"), ("second", "third"), ("other", "another")]
    listed.write_text(json.dumps({"equivalences": [{"old": old, "new": new} for old, new in pairs]}))
    monkeypatch.setattr(equivalences, "LISTED", listed)

    def verdict(old: str, new: str) -> str:
        pair = only(pair_of(record([0] * 2000, stressor_code=old), record([0] * 2000, stressor_code=new)))
        assert [item.field for item in pair.differing] == ["stressor_code"] * (pair.verdict == "not comparable")
        return pair.verdict

    assert verdict("first", "third") == verdict("third", "first") == verdict("second", "third") == "equivalent"
    assert verdict("first+other", "third+another") == "equivalent"
    assert (
        verdict("first", "other") == verdict("first", "unlisted") == verdict("first+other", "third") == "not comparable"
    )


def test_suite_version_and_n_must_agree() -> None:
    assert only(pair_of(record(), record(weights="w"), suite_version=2)).reason == "suite_version: 1 and 2"
    assert only(pair_of(record([0]), record([0, 0], weights="w"))).reason == "n: 1 and 2"


@pytest.mark.parametrize("field", ["weights", "model_code", "seed"])
def test_the_subject_may_differ(field: str) -> None:
    assert (
        only(pair_of(record(), record(**identities(field, 7 if field == "seed" else "x")))).verdict != "not comparable"
    )


def test_errors_make_a_pair_incomplete_not_worse() -> None:
    old, new = record([0] * 100), record([0] * 50 + [3] * 50, weights="w")
    comparison = compare_tables([row(old)], [row(new, error="NaN")], {old.key: old, new.key: new})
    pair = only(comparison)
    assert (pair.verdict, pair.reason, pair.unjudged) == ("incomplete", "new: NaN", 50)
    assert (pair.difference, pair.worst, pair.best, pair.p) == (None, -0.5, 0, 1)
    assert comparison.exit_code == ExitCode.OK
    failed = compare_tables([row(old)], [row(None, 100, "no subject")], {old.key: old})
    assert only(failed).verdict == "incomplete"
    assert (only(failed).worst, only(failed).best, only(failed).unjudged) == (-1, 0, 100)
    assert failed.exit_code == ExitCode.NOT_COMPARABLE


def test_a_missing_record_is_incomplete() -> None:
    old, new = changed(10, 1, 0)
    pair = only(compare_tables([row(old)], [row(new)], {new.key: new}))
    assert (pair.verdict, pair.reason) == (
        "incomplete",
        "the old record is missing from the store; run the suite again",
    )


def test_samples_are_paired_by_id_not_by_position() -> None:
    old, new = changed(100, 30, 0)
    order = np.random.default_rng(0).permutation(100)
    arrays = {name: getattr(new, name)[order] for name in ("ids", "states", "losses", "forwards", "backwards")}
    mixed = Record(identity=new.identity, wobble=0, seconds=0.0, **arrays)
    pair = only(pair_of(old, mixed))
    assert (pair.lost, pair.gained, pair.lost_ids) == (30, 0, tuple(range(30)))
    other = Record(identity=new.identity, wobble=0, seconds=0.0, **{**arrays, "ids": arrays["ids"] + 1})
    assert only(pair_of(old, other)).reason == "the records do not hold the same samples"


def test_holm_counts_only_cells_that_were_tested() -> None:
    old, new = changed(200, 10, 1)
    records = {old.key: old, new.key: new}
    olds = [row(old, stressor=name) for name in "abcd"] + [row(old, variant="crate")]
    news = [
        row(new, stressor="a"),
        row(new, stressor="b"),
        row(old, stressor="c"),
        row(record([0] * 200, data="x"), stressor="d"),
        row(new, variant="crate"),
    ]
    found = compare_tables(olds, news, records).pairs
    assert [pair.verdict for pair in found] == ["worse", "worse", "equivalent", "not comparable", "worse"]
    assert found[0].adjusted_p == pytest.approx(2 * (found[0].p or 0))
    # Another model is another family.
    assert found[4].adjusted_p == found[4].p


def test_a_suite_declares_smaller_families_and_the_other_correction_is_benjamini_and_hochbergs() -> None:
    old, new = changed(200, 10, 1)
    slight = record([1] * 6 + [0] * 194, weights="other", signature="slight")
    base = record([0] * 200, signature="slight")
    records = {made.key: made for made in (old, new, slight, base)}
    olds = [row(old, stressor="a"), row(base, stressor="b"), row(old, stressor="c", family="rare")]
    news = [row(new, stressor="a"), row(slight, stressor="b"), row(new, stressor="c", family="rare")]
    one, two, apart = compare_tables(olds, news, records).pairs
    assert (one.adjusted_p, two.adjusted_p) == (2 * (one.p or 0), two.p)
    assert apart.adjusted_p == apart.p
    one, two, apart = compare_tables(olds, news, records, correction="bh").pairs
    assert (one.adjusted_p, two.adjusted_p) == (2 * (one.p or 0), two.p)


def test_added_and_removed_rows_and_nothing_in_common() -> None:
    comparison = compare_tables([row(variant="a")], [row(variant="b")], {})
    assert [r.variant for r in comparison.added] == ["b"]
    assert [r.variant for r in comparison.removed] == ["a"]
    assert comparison.exit_code == ExitCode.NOT_COMPARABLE
    assert compare_tables([], [], {}).exit_code == ExitCode.NOT_COMPARABLE


def test_one_comparable_cell_is_enough() -> None:
    olds = [row(variant="a"), row(variant="b")]
    news = [row(record(data="x"), variant="a"), row(None, 4, "x", variant="b")]
    assert compare_tables(olds, news, {}).exit_code == ExitCode.NOT_COMPARABLE
    assert compare_tables(olds, [news[0], row(variant="b")], {}).exit_code == ExitCode.OK


@pytest.mark.parametrize(("margin", "alpha"), [(-0.1, 0.05), (0.01, 0.0), (0.01, 0.5), (float("nan"), 0.05)])
def test_nonsense_is_refused(margin: float, alpha: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        compare_tables([], [], {}, margin=margin, alpha=alpha)


@pytest.mark.slow(4)
@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=80))
def test_swapping_old_and_new_mirrors_the_verdict(pairs: list[tuple[int, int]]) -> None:
    old, new = record([a for a, _ in pairs]), record([b for _, b in pairs], weights="other")
    forth, back = only(pair_of(old, new)), only(pair_of(new, old))
    mirror = {"worse": "better", "better": "worse"}
    assert back.verdict == mirror.get(forth.verdict, forth.verdict)
    assert (back.lost, back.gained, back.p) == (forth.gained, forth.lost, forth.p)


@pytest.mark.slow(3)
def test_an_a_a_run_with_noise_raises_no_alarm() -> None:
    rng = np.random.default_rng(11)
    alarms = 0
    for _ in range(60):
        olds, news = [], []
        records: dict[str, Record] = {}
        for cell in "abcdef":
            base = rng.random(400) < 0.7
            flips = [base ^ (rng.random(400) < 0.02) for _ in range(2)]
            outcomes = [(~flip).astype(int).tolist() for flip in flips]
            old, new = record(outcomes[0], signature=cell), record(outcomes[1], signature=cell, weights="new")
            records |= {old.key: old, new.key: new}
            olds.append(row(old, stressor=cell))
            news.append(row(new, stressor=cell))
        verdicts = {pair.verdict for pair in compare_tables(olds, news, records).pairs}
        alarms += bool(verdicts & {"worse", "better"})
    assert alarms <= 6
