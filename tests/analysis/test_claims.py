"""Overall differences of a model: clustered by sample, for a checkpoint or an architecture."""

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import t

from robustbench_wb.analysis.compare.compare_tables import compare_tables
from robustbench_wb.analysis.compare.comparison import CellDifference, Comparison, OverallDifference
from robustbench_wb.analysis.compare.overall import (
    ClusteredOutcomes,
    SubjectEvidence,
    estimate_architecture,
    overall_differences,
)
from robustbench_wb.records.record import Record, State
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.stats.intervals import Interval
from robustbench_wb.stats.paired import mcnemar, tango_interval
from tests.store.make import record, row, scored, states, text_row

Floats = NDArray[np.float64]


def case(differences: Floats) -> ClusteredOutcomes:
    """Clustered outcomes of differences (cells, samples) of -1, 0 and 1."""
    lost, gained = float(np.mean(differences < 0)), float(np.mean(differences > 0))
    return ClusteredOutcomes(clusters=differences.mean(axis=0), lost=lost, gained=gained, outcomes=differences.size)


def interval(found: ClusteredOutcomes, confidence: float = 0.95) -> tuple[float, float]:
    n = found.effective
    (low,), (high,) = tango_interval([n], [n * found.lost], [n * found.gained], confidence=confidence)
    return float(low), float(high)


def run(outcomes: dict[tuple[str, int], list[int]], weights: str) -> tuple[list[ScoreRow], dict[str, Record]]:
    """Rows and records of one model, from the states for each stressor and seed."""
    rows, records = [], {}
    for (stressor, seed), made in outcomes.items():
        kept = record(made, signature=f"{stressor};{seed}", weights=f"{weights}{seed}")
        records[kept.key] = kept
        rows.append(row(kept, error="NaN" if State.ERRORED in made else "", stressor=stressor, seed=seed))
    return rows, records


def compared(old: dict[tuple[str, int], list[int]], new: dict[tuple[str, int], list[int]], **more: Any) -> Comparison:
    (before, first), (after, second) = run(old, "old"), run(new, "new")
    return compare_tables(before, after, {**first, **second}, **more)


def only(comparison: Comparison) -> OverallDifference:
    (claim,) = comparison.claims
    return claim


def test_one_cell_is_its_own_claim() -> None:
    comparison = compared({("a", 0): states(500, 0)}, {("a", 0): states(492, 8)})
    claim, (pair,) = only(comparison), comparison.pairs
    for name in ("verdict", "difference", "low", "high", "narrow_low", "narrow_high", "p", "detectable_drop"):
        assert getattr(claim, name) == pytest.approx(getattr(pair, name)), name
    assert (claim.unit, claim.seeds, claim.cells, claim.samples) == ("checkpoint", (0,), 1, 500)


def test_copies_of_a_cell_add_nothing() -> None:
    """A sample that is lost under five stressors is one sample."""
    names = [(name, 0) for name in "abcde"]
    once = only(compared({names[0]: states(500, 0)}, {names[0]: states(492, 8)}))
    often = only(compared(dict.fromkeys(names, states(500, 0)), dict.fromkeys(names, states(492, 8))))
    for name in ("difference", "low", "high", "p"):
        assert getattr(often, name) == pytest.approx(getattr(once, name)), name
    assert (often.cells, often.samples) == (5, 500)


def test_independent_cells_add_as_much_as_their_samples() -> None:
    lost = [([0] * (60 * k) + [1] * 8 + [0] * (492 - 60 * k)) for k in range(5)]
    names = [(name, 0) for name in "abcde"]
    found = only(compared(dict.fromkeys(names, states(500, 0)), dict(zip(names, lost, strict=True))))
    (low,), (high,) = tango_interval([2500], [40], [0])
    assert (found.low, found.high) == (pytest.approx(low, abs=2e-4), pytest.approx(high, abs=2e-4))
    assert found.p is not None
    assert found.p < 1e-6


def test_the_effective_number_by_the_variance_of_the_mean() -> None:
    rng = np.random.default_rng(0)
    common, own = rng.random(400), rng.random((6, 400))
    chosen = np.where(rng.random((6, 400)) < 0.6, common, own)
    differences = (chosen > 0.97).astype(float) - (chosen < 0.05)
    found = case(differences)
    single = differences.var()
    drawn = [differences[:, rng.integers(0, 400, 400)].mean() for _ in range(4000)]
    assert found.effective == pytest.approx(single / np.var(drawn), rel=0.08)
    assert 400 < found.effective < 2400
    assert case(np.zeros((6, 400))).effective == 400
    assert case(-np.ones((6, 400))).effective == 400


@pytest.mark.slow(1)
@pytest.mark.parametrize("together", [0.0, 0.9, 1.0])
def test_clustered_intervals_cover_nineteen_times_in_twenty(together: float) -> None:
    rng = np.random.default_rng(int(10 * together))
    inside = 0
    for _ in range(500):
        chosen = np.where(rng.random((8, 400)) < together, rng.random(400), rng.random((8, 400)))
        differences = (chosen > 0.985).astype(float) - (chosen < 0.03)
        low, high = interval(case(differences))
        inside += low <= -0.015 <= high
    assert 0.95 - 0.025 <= inside / 500 <= 0.95 + 0.03


def test_left_out_cells_are_counted_and_failed_ones_are_not_left_out() -> None:
    old = {("a", 0): states(100, 0), ("b", 0): states(100, 0)}
    (before, first), (after, second) = run(old, "old"), run(old, "new")
    other = record(states(100, 0), data="x")
    claim = only(
        compare_tables([*before, row(other, stressor="c")], [*after, row(record(), stressor="c")], {**first, **second})
    )
    assert (claim.cells, claim.left_out) == (2, 1)
    failed = [after[0], row(None, 100, "no subject", stressor="b")]
    claim = only(compare_tables(before, failed, {**first, **second}))
    # One cell is unchanged; the other has no judged samples.
    assert (claim.worst, claim.best, claim.verdict) == (pytest.approx(-0.5), 0, "incomplete")
    assert (claim.unjudged, claim.cells, claim.samples) == (100, 2, 100)


def test_samples_that_are_named_in_no_record_are_those_of_the_other_cells() -> None:
    old = {("a", 0): states(100, 0), ("b", 0): states(100, 0)}
    (before, first), (after, second) = run(old, "old"), run(old, "new")
    failed = [row(None, 100, "gone", stressor="b"), row(None, 100, "gone too", stressor="b")]
    claim = only(compare_tables([before[0], failed[0]], [after[0], failed[1]], {**first, **second}))
    assert (claim.samples, claim.worst, claim.best) == (100, -0.5, 0.5)


def test_the_same_records_differ_in_nothing() -> None:
    rows, _ = run({("a", 0): states(90, 10), ("b", 0): states(80, 20)}, "w")
    claim = only(compare_tables(rows, rows, {}))
    assert (claim.verdict, claim.difference, claim.p, claim.reason) == ("equivalent", 0, 1, "the same records")


def test_the_mean_loss_of_all_cells() -> None:
    rng = np.random.default_rng(1)
    base, drift = rng.gamma(16, 0.2, 100), rng.standard_normal(100) * 0.05 + 0.05
    rows: dict[str, list[ScoreRow]] = {"old": [], "new": []}
    records = {}
    for side, more in (("old", 0.0), ("new", drift)):
        for cell in "ab":
            made = scored((base + more).tolist(), weights=side, signature=cell)
            records[made.key] = made
            rows[side].append(text_row(made, stressor=cell))
    comparison = compare_tables(rows["old"], rows["new"], records)
    claim, pair = only(comparison), comparison.pairs[0]
    assert claim.verdict == "worse"
    for name in ("difference", "low", "high", "p", "detectable_drop"):
        assert getattr(claim, name) == pytest.approx(getattr(pair, name)), name


def test_each_claim_says_what_it_is_about() -> None:
    old = {("a", seed): states(300, 100) for seed in range(3)}
    new = {("a", seed): states(250 - 5 * seed, 150 + 5 * seed) for seed in range(3)}
    architecture, *checkpoints = compared(old, new).claims
    assert (architecture.unit, architecture.seeds, architecture.verdict) == ("architecture", (0, 1, 2), "worse")
    assert architecture.difference == pytest.approx(np.mean([claim.difference for claim in checkpoints]))
    assert [(claim.unit, claim.seeds) for claim in checkpoints] == [("checkpoint", (seed,)) for seed in range(3)]
    (one,) = compared({("a", 7): states(9, 1)}, {("a", 7): states(8, 2)}).claims
    assert (one.unit, one.seeds) == ("checkpoint", (7,))


def test_a_claim_on_checkpoints_need_not_hold_for_their_architecture() -> None:
    old = {("a", seed): states(300, 100) for seed in range(3)}
    new = {("a", 0): states(220, 180), ("a", 1): states(300, 100), ("a", 2): states(330, 70)}
    architecture, *checkpoints = compared(old, new).claims
    assert [claim.verdict for claim in checkpoints] == ["worse", "equivalent", "better"]
    assert architecture.verdict == "undecided"


def test_an_unchanged_seed_counts() -> None:
    old = {("a", seed): states(300, 100) for seed in range(3)}
    (before, first), (after, second) = run(old, "old"), run({key: states(280, 120) for key in old}, "new")
    kept = compare_tables(before, [before[0], *after[1:]], {**first, **second}).claims[0]
    assert kept.seeds == (0, 1, 2)
    assert kept.difference == pytest.approx(-0.05 * 2 / 3)


def evidence(differences: Floats, metric: str) -> list[SubjectEvidence]:
    """Evidence of each seed from the differences of one cell, (seeds, samples)."""
    ids = np.arange(differences.shape[1])
    stub = cast("CellDifference", type("Stub", (), {"metric": metric}))
    cases = [case(row[None]) for row in differences]
    return [
        SubjectEvidence(seed=seed, pairs=(stub,), ids=ids, worst=one, best=one, cells=1)
        for seed, one in enumerate(cases)
    ]


def crossed(rng: np.random.Generator, seeds: int, samples: int, of_seeds: float) -> Floats:
    effect = rng.normal(0, of_seeds, seeds)[:, None] + rng.normal(0, 0.1, samples)
    return np.asarray(effect + rng.normal(0, 0.1, (seeds, samples)))


def bootstrapped(differences: Floats, rng: np.random.Generator, draws: int = 400) -> Floats:
    """Means of seeds and, independently, samples drawn with replacement."""
    seeds, samples = differences.shape
    rows = rng.multinomial(seeds, np.full(seeds, 1 / seeds), draws)
    columns = rng.multinomial(samples, np.full(samples, 1 / samples), draws)
    return np.asarray(((rows @ differences) * columns).sum(axis=1) / differences.size)


@pytest.mark.parametrize("of_seeds", [0.0, 0.02, 0.2])
def test_the_error_of_an_architecture_is_that_of_a_bootstrap_over_seeds_and_samples(of_seeds: float) -> None:
    rng = np.random.default_rng(9)
    differences = crossed(rng, 40, 60, of_seeds)
    wide = estimate_architecture(evidence(differences, "perplexity"), 0.05).wide
    expected = np.std(bootstrapped(differences, rng, 4000))
    assert (wide.high - wide.low) / 2 == pytest.approx(t.isf(0.025, 60) * expected, rel=0.08)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_few_seeds_give_wide_intervals_and_the_percentiles_of_a_bootstrap_do_not(seeds: int) -> None:
    rng = np.random.default_rng(100 + seeds)
    inside = naive = 0
    for _ in range(2000):
        differences = crossed(rng, seeds, 100, 0.2)
        wide = estimate_architecture(evidence(differences, "perplexity"), 0.05).wide
        inside += wide.low <= 0 <= wide.high
        low, high = np.quantile(bootstrapped(differences, rng), [0.025, 0.975])
        naive += low <= 0 <= high
    assert 0.94 <= inside / 2000 <= 0.97
    assert naive / 2000 < 0.87


@pytest.mark.slow(2)
@pytest.mark.no_cover
@pytest.mark.parametrize("metric", ["accuracy", "perplexity"])
def test_the_interval_of_an_architecture_and_its_p_say_the_same(metric: str) -> None:
    rng = np.random.default_rng(10)
    found = []
    for _ in range(40):
        drop = rng.choice([0.02, 0.2]) + rng.normal(0, 0.02, 3)
        changes = -(rng.random((3, 100)) < np.maximum(drop, 0)[:, None]).astype(float)
        differences = changes if metric == "accuracy" else crossed(rng, 3, 100, 0.02) - drop[:, None]
        numbers = estimate_architecture(evidence(differences, metric), 0.05)
        assert (numbers.p <= 0.05) == (not numbers.wide.low <= 0 <= numbers.wide.high)
        found.append(numbers.p <= 0.05)
    assert 0 < sum(found) < 40


def test_without_any_change_an_architecture_is_not_certain() -> None:
    found = estimate_architecture(evidence(np.zeros((3, 100)), "accuracy"), 0.05)
    assert (found.worst, found.best, found.p) == (0, 0, 1)
    (low,), (high,) = tango_interval([100], [0], [0])
    assert found.wide == pytest.approx(Interval(float(low), float(high)), rel=0.02)


def test_seeds_of_other_samples_meet_where_they_can() -> None:
    first, second = evidence(np.zeros((2, 100)), "accuracy")
    shifted = replace(second, ids=np.arange(50, 150))
    assert (
        estimate_architecture([first, shifted], 0.05).wide.high > estimate_architecture([first, second], 0.05).wide.high
    )
    assert overall_differences({}, 0.01, 0.05) == []


def test_a_family_of_p_values_would_not_do_as_one() -> None:
    """Twenty cells with the same 12 lost samples: the smallest p is too small, the clustered p is that of one cell."""
    names = [(f"s{k}", 0) for k in range(20)]
    new = {name: [1] * 12 + [0] * 5 + [0] * 383 for name in names}
    old = {name: [0] * 12 + [1] * 5 + [0] * 383 for name in names}
    claim = only(compared(old, new))
    assert claim.p == pytest.approx(float(mcnemar(12, 5)), abs=0.015)
    assert claim.verdict == "undecided"
