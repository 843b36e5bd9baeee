from math import exp, log, nan
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import t, ttest_rel

from robustbench_wb.analysis.compare.compare_tables import compare_tables
from robustbench_wb.analysis.compare.comparison import CellDifference, Comparison
from robustbench_wb.analysis.row_order import rank_rows
from robustbench_wb.errors import ExitCode
from robustbench_wb.records.record import Record
from robustbench_wb.records.score_row import ScoreRow
from tests.store.make import record, row, scored, states, text_row

# Losses as float32 holds them exactly, so that references in float64 see the same numbers.
LOSSES = st.lists(st.integers(0, 640).map(lambda k: k / 64), min_size=1, max_size=40)
KNOWN = [3.0, 4.0] * 5
PAIRS = st.lists(st.tuples(st.integers(0, 640), st.integers(0, 640)), min_size=1, max_size=40)


def test_a_sound_cell_by_hand() -> None:
    found = text_row(scored([3.0, 3.5, 4.0, 3.5]))
    # Mean 3.5, s = sqrt(1/6); t for 3 degrees of freedom and 95 % is 3.1824463.
    reach = 3.1824463 * (1 / 6) ** 0.5 / 2
    assert found.perplexity == pytest.approx(exp(3.5))
    assert (found.perplexity_low, found.perplexity_high) == pytest.approx((exp(3.5 - reach), exp(3.5 + reach)))
    assert (found.accuracy, found.low, found.high, found.accuracy_high) == (None, None, None, None)
    assert (found.robust, found.broken, found.wrong, found.errored, found.not_run) == (0, 0, 0, 0, 0)
    assert (found.n, found.status, found.metric) == (4, "ok", "perplexity")


@given(LOSSES.filter(lambda losses: len(losses) > 1))
def test_a_sound_cell_against_plain_python(losses: list[float]) -> None:
    found, n = text_row(scored(losses)), len(losses)
    mean = sum(losses) / n
    spread = (sum((loss - mean) ** 2 for loss in losses) / (n - 1)) ** 0.5
    reach = float(t.ppf(0.975, n - 1)) * spread / n**0.5
    assert found.perplexity == pytest.approx(exp(mean))
    assert found.perplexity_low == pytest.approx(max(1.0, exp(mean - reach)))
    assert found.perplexity_high == pytest.approx(exp(mean + reach))


def test_a_model_that_guesses_has_the_perplexity_of_its_vocabulary() -> None:
    assert text_row(scored([log(65)] * 10)).perplexity == pytest.approx(65)


def test_one_sample_has_a_perplexity_and_an_open_interval() -> None:
    found = text_row(scored([2.0]))
    assert (found.perplexity, found.perplexity_low, found.perplexity_high) == (pytest.approx(exp(2)), 1, None)
    assert found.status == "ok"


def test_losses_beyond_all_floats_are_cut_there() -> None:
    found = text_row(scored([1e4, 2e4]))
    assert found.perplexity == found.perplexity_high == pytest.approx(1.797e308, rel=1e-3)


@pytest.mark.parametrize(
    ("made", "samples"),
    [(scored([*KNOWN, nan]), 11), (scored(KNOWN), 11), (scored([*KNOWN, float("inf")]), 11)],
    ids=["errored", "not run", "not finite"],
)
def test_with_missing_samples_only_a_lower_bound_is_known(made: Record, samples: int) -> None:
    found = text_row(made, samples, "boom")
    # Ten losses of mean 3.5 and a missing one: mean 35 / 11 with the 0 in its place, far below that of the ten.
    best = text_row(scored([*KNOWN, 0.0]))
    assert (found.perplexity, found.perplexity_high) == (None, None)
    assert found.perplexity_low == best.perplexity_low
    assert 1 < (found.perplexity_low or 0) < (text_row(scored(KNOWN)).perplexity_low or 0)
    assert (found.n, found.errored + found.not_run, found.status) == (11, 1, "incomplete")


def test_a_failed_cell_is_a_row_without_numbers() -> None:
    for found in (text_row(None, 20, "no subject"), text_row(scored([nan, nan]), 2, "NaN"), text_row(scored([]), 0)):
        assert (found.status, found.metric) == ("error", "perplexity")
        assert (found.perplexity, found.perplexity_low, found.perplexity_high) == (None, None, None)
        assert found.accuracy is None


def test_an_error_of_a_cell_that_judged_all_is_told_by_the_status() -> None:
    found = text_row(scored([1.0, 2.0]), error="odd")
    assert (found.status, found.perplexity) == ("incomplete", pytest.approx(exp(1.5)))


@given(LOSSES, st.data())
def test_an_injected_error_never_helps(losses: list[float], data: st.DataObject) -> None:
    hit = data.draw(st.sets(st.integers(0, len(losses) - 1), min_size=1))
    after = [nan if index in hit else loss for index, loss in enumerate(losses)]
    sound, harmed = text_row(scored(losses)), text_row(scored(after), error="boom", variant="harmed")
    assert (harmed.perplexity, harmed.perplexity_high) == (None, None)
    assert (harmed.perplexity_low or 0) <= (sound.perplexity or 0) * (1 + 1e-9)
    assert harmed.status != "ok"
    assert harmed.errored == len(hit)
    assert rank_rows([harmed, sound]) == [sound, harmed]


@pytest.mark.slow(2)
def test_how_often_the_intervals_hold() -> None:
    rng = np.random.default_rng(4)
    inside = below = 0
    for _ in range(600):
        losses = rng.gamma(16, 0.2, 40)  # the true mean is 3.2
        found = text_row(scored(losses.tolist()))
        inside += (found.perplexity_low or 0) <= exp(3.2) <= (found.perplexity_high or 0)
        harmed = text_row(scored(np.where(losses > 4.2, nan, losses).tolist()), error="the hard ones failed")
        below += (harmed.perplexity_low or 0) <= exp(3.2)
    assert 0.92 < inside / 600 < 0.975
    assert below / 600 >= 0.975


@pytest.mark.parametrize(
    "change",
    [{"accuracy": 0.5}, {"perplexity": None}, {"perplexity_low": None}, {"perplexity": 0.5}, {"metric": "accuracy"}],
)
def test_a_row_holds_the_numbers_of_its_metric_alone(change: dict[str, Any]) -> None:
    found = text_row(scored([1.0, 2.0]))
    with pytest.raises(ValidationError):
        ScoreRow.model_validate({**found.model_dump(), **change})
    with pytest.raises(ValidationError):
        ScoreRow.model_validate({**row().model_dump(), "accuracy": None})


def pair_of(old: Record, new: Record, **settings: Any) -> Comparison:
    return compare_tables([text_row(old)], [text_row(new)], {old.key: old, new.key: new}, **settings)


def only(comparison: Comparison) -> CellDifference:
    (pair,) = comparison.pairs
    return pair


def drifted(n: int, shift: float, scatter: float) -> tuple[Record, Record]:
    """Two records whose losses differ by exactly ``shift`` on average, with an exact standard deviation."""
    rng = np.random.default_rng(n)
    noise = rng.standard_normal(n)
    noise = (noise - noise.mean()) / noise.std(ddof=1)
    base = rng.gamma(16, 0.2, n)
    return scored(base.tolist()), scored((base + shift + scatter * noise).tolist(), weights="other")


@pytest.mark.parametrize(
    ("n", "shift", "scatter", "verdict"),
    [
        (100, 0.05, 0.1, "worse"),
        (100, -0.05, 0.1, "better"),
        (1000, 0.005, 0.02, "equivalent"),
        (1000, -0.005, 0.02, "equivalent"),
        (100, 0.01, 0.1, "undecided"),
        (1, 0.5, 0.0, "undecided"),
    ],
)
def test_every_verdict_of_a_tested_pair(n: int, shift: float, scatter: float, verdict: str) -> None:
    old, new = drifted(n, shift, scatter) if n > 1 else (scored([2.0]), scored([2.5], weights="other"))
    comparison = pair_of(old, new)
    pair = only(comparison)
    assert (pair.verdict, pair.metric) == (verdict, "perplexity")
    assert pair.difference == pytest.approx(shift, abs=1e-6)
    before, after = comparison.pairs[0].old.perplexity or 0, comparison.pairs[0].new.perplexity or 0
    assert exp(pair.difference or 0) == pytest.approx(after / before)
    assert (pair.lost, pair.gained, pair.both, pair.neither, pair.lost_ids) == (None, None, None, None, ())
    assert comparison.exit_code == ExitCode.OK


def test_the_numbers_are_close_to_those_of_normal_theory() -> None:
    old, new = drifted(60, 0.02, 0.07)
    expected = ttest_rel(new.losses.astype(float), old.losses.astype(float))
    interval, pair = expected.confidence_interval(), only(pair_of(old, new))
    assert pair.p == pytest.approx(expected.pvalue, abs=0.01)
    assert (pair.low, pair.high) == pytest.approx((interval.low, interval.high), abs=0.002)
    assert pair.detectable_drop == pytest.approx(0.07 / 60**0.5 * (t.ppf(0.975, 59) + t.ppf(0.8, 59)), rel=1e-5)


def test_the_margin_is_a_factor_either_way() -> None:
    flat = scored([3.0] * 50)
    # The logarithms of 1.49 and 1.51 lie on two sides of that of 1.5, and all three are below 0.5.
    for factor, verdict in ((1.49, "equivalent"), (1 / 1.49, "equivalent"), (1.51, "worse"), (1 / 1.51, "better")):
        new = scored([3.0 + log(factor)] * 50, weights="other")
        assert only(pair_of(flat, new, margin=0.5)).verdict == verdict


@settings(max_examples=60, deadline=None)
@given(PAIRS, st.sampled_from([0.0, 0.01, 0.5]))
def test_swapping_old_and_new_mirrors_the_verdict(pairs: list[tuple[int, int]], margin: float) -> None:
    old = scored([a / 64 for a, _ in pairs])
    new = scored([b / 64 for _, b in pairs], weights="other")
    forth, back = only(pair_of(old, new, margin=margin)), only(pair_of(new, old, margin=margin))
    mirror = {"worse": "better", "better": "worse"}
    assert back.verdict == mirror.get(forth.verdict, forth.verdict)
    assert (back.p, back.difference) == (forth.p, -(forth.difference or 0.0))
    if forth.verdict in mirror:
        assert (forth.verdict == "worse") == ((forth.new.perplexity or 0) > (forth.old.perplexity or 0))


@given(LOSSES)
def test_identical_losses_are_equivalent(losses: list[float]) -> None:
    same = text_row(scored(losses))
    pair = only(compare_tables([same], [same], {}))
    assert (pair.verdict, pair.difference, pair.p, pair.both, pair.metric) == ("equivalent", 0, 1, None, "perplexity")
    pair = only(pair_of(scored(losses), scored(losses, weights="retrained")))
    # A single sample gives no interval, not even for equal losses.
    assert pair.verdict == ("equivalent" if len(losses) > 1 else "undecided")
    assert pair.p == 1


def test_samples_are_paired_by_id_not_by_position() -> None:
    old, new = drifted(100, 0.05, 0.01)
    order = np.random.default_rng(0).permutation(100)
    names = ("ids", "states", "losses", "forwards", "backwards")
    arrays = {name: getattr(new, name)[order] for name in names}
    mixed = Record(identity=new.identity, wobble=0, seconds=0.0, **arrays)
    assert only(pair_of(old, mixed)).high == pytest.approx(only(pair_of(old, new)).high)
    other = Record(identity=new.identity, wobble=0, seconds=0.0, **{**arrays, "ids": arrays["ids"] + 1})
    assert only(pair_of(old, other)).reason == "the records do not hold the same samples"


def test_errors_make_a_pair_incomplete() -> None:
    old, new = scored([1.0, 5.0]), scored([1.0, nan], weights="w")
    comparison = compare_tables([text_row(old)], [text_row(new, error="NaN")], {old.key: old, new.key: new})
    assert (only(comparison).verdict, only(comparison).reason) == ("incomplete", "new: NaN")
    assert comparison.exit_code == ExitCode.NOT_COMPARABLE
    (claim,) = comparison.claims
    assert (claim.verdict, claim.difference) == ("incomplete", None)


def test_different_metrics_are_not_comparable() -> None:
    names: dict[str, Any] = {"task": "text", "suite": "clean", "stressor": "clean", "strength": ""}
    for new in (text_row(scored([1.0] * 4)), text_row(None, 4, "no subject")):
        pair = only(compare_tables([row(record(), **names)], [new], {}))
        assert pair.verdict == "not comparable"
        assert (pair.differing[0].field, pair.differing[0].old, pair.differing[0].new) == (
            "metric",
            "accuracy",
            "perplexity",
        )


def test_holm_corrects_the_cells_of_each_subject_apart() -> None:
    old, new = record(states(200, 0)), record(states(190, 10), weights="w")
    before, after = drifted(100, 0.05, 0.1)
    records = {made.key: made for made in (old, new, before, after)}
    found = compare_tables([row(old), text_row(before)], [row(new), text_row(after)], records).pairs
    assert [pair.metric for pair in found] == ["accuracy", "perplexity"]
    assert [pair.verdict for pair in found] == ["worse", "worse"]
    assert [pair.adjusted_p for pair in found] == [pair.p for pair in found]
