"""Rankings: significant differences, invariances, and cells that do not count."""

import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from robustbench_wb.analysis.leaderboard.panel_ranking import PanelRanking, RankedModel
from robustbench_wb.analysis.leaderboard.rank_panels import rank_panels, records_for_ranking
from robustbench_wb.analysis.row_order import CellKey, mean_accuracy
from robustbench_wb.analysis.sample_scores import SampleScores, sample_score_interval
from robustbench_wb.records.record import Record, State
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.stats.intervals import mean_interval, wilson
from robustbench_wb.stats.rank_intervals import letter_display, rank_intervals, significantly_better
from tests.known import known
from tests.store.make import record, row, scored, text_row

CELLS = (("clean", ""), ("pgd-linf", "2/255"), ("pgd-linf", "8/255"))
Table = tuple[list[ScoreRow], dict[str, Record]]


def subject(variant: str, *robust: Sequence[int], seed: int = 0, cells: Sequence[tuple[str, str]] = CELLS) -> Table:
    """Rows and records of a model with these samples (1 robust, 0 not) in each cell."""
    rows, records = [], {}
    for (stressor, strength), outcomes in zip(cells, robust, strict=True):
        made = record(
            [State.BROKEN - int(one) for one in outcomes], signature=f"{stressor};{strength}", weights=variant
        )
        records[made.key] = made
        shown = row(made, variant=variant, stressor=stressor, strength=strength, seed=seed)
        rows.append(shown.model_copy(update={"flops": 6_990_080, "peak_memory": 1_024_872}))
    return rows, records


def table(*subjects: Table) -> Table:
    return [one for rows, _ in subjects for one in rows], {key: one for _, own in subjects for key, one in own.items()}


def drawn(variant: str, seed: int, *shares: float, n: int = 400) -> Table:
    """Cells with these accuracies, for samples that are hard or easy in all of them."""
    ease = np.random.default_rng(99).random(n)
    noise = np.random.default_rng(seed).random((len(shares), n))
    pairs = zip(shares, noise, strict=True)
    return subject(variant, *[(0.7 * ease + 0.3 * own < share).astype(int).tolist() for share, own in pairs])


def only(rows: Sequence[ScoreRow], records: dict[str, Record]) -> PanelRanking:
    (found,) = rank_panels(rows, records)
    return found


def by_name(found: PanelRanking) -> dict[str, RankedModel]:
    return {line.variant: line for line in found.lines}


def test_a_clearly_better_one_is_alone_at_rank_1_and_identical_ones_tie() -> None:
    rows, records = table(
        drawn("twin-b", 1, 0.8, 0.5, 0.3), drawn("best", 2, 0.95, 0.8, 0.7), drawn("twin-a", 1, 0.8, 0.5, 0.3)
    )
    found = only(rows, records)
    assert [line.variant for line in found.lines] == ["best", "twin-a", "twin-b"]
    assert [(line.rank, line.rank_low, line.rank_high, line.group) for line in found.lines] == [
        (1, 1, 1, "a"),
        (2, 2, 3, "b"),
        (2, 2, 3, "b"),
    ]
    assert found.tests == 3


def test_the_score_is_the_mean_accuracy_and_the_line_says_what_it_is_of() -> None:
    rows, records = drawn("vit", 1, 0.8, 0.5, 0.3)
    (line,) = only(rows, records).lines
    assert line.score == pytest.approx(mean_accuracy(rows, 3), abs=1e-12)
    assert line.low is not None
    assert line.high is not None
    assert line.low < known(line.score) < line.high
    assert (line.rank, line.rank_low, line.rank_high, line.group) == (1, 1, 1, "a")
    assert (line.worst_cell, line.worst, line.clean) == ("pgd-linf@8/255", rows[2].accuracy, rows[0].accuracy)
    assert (line.counted, line.cells, line.n, line.seed) == (3, 3, (400,), 0)
    assert (line.parameters, line.flops, line.train_seconds, line.peak_memory) == (12345, 6_990_080, 3.25, 1_024_872)
    assert (line.forwards, line.backwards) == (41.0, 40.0)
    assert line.signature.startswith(
        "suite:adversarial-v1|scale:small|task:digits|protocol:sound|metric:accuracy|cells:3/3|n:400|seed:0|"
        "numerics:cpu;float32;torch-2.13|keys:"
    )
    assert records_for_ranking(rows) == set(records)


def test_of_one_cell_the_interval_is_that_of_the_row_even_at_the_ends() -> None:
    for count in (0, 13, 60):
        rows, records = subject("vit", [1] * count + [0] * (60 - count), cells=CELLS[:1])
        (line,) = only(rows, records).lines
        assert (line.low, line.high) == pytest.approx(tuple(wilson(count, 60)), abs=1e-12)


def test_cells_that_agree_are_worth_no_more_samples_and_independent_ones_are() -> None:
    easy = [1] * 50 + [0] * 50
    same, single = (only(*subject("vit", *[easy] * count, cells=CELLS[:count])).lines[0] for count in (3, 1))
    assert (same.low, same.high) == pytest.approx((single.low, single.high), abs=1e-12)
    other = [1, 0] * 50
    apart = only(*subject("vit", easy, other, cells=CELLS[:2])).lines[0]
    assert (apart.low, apart.high) == pytest.approx(tuple(wilson(100, 200)), abs=1e-3)


@given(st.randoms(use_true_random=False))
@settings(max_examples=10, deadline=None)
def test_the_order_of_rows_changes_nothing(chance: random.Random) -> None:
    rows, records = table(*(drawn(name, at, 0.8 + at / 50, 0.5, 0.3, n=80) for at, name in enumerate("dbcae")))
    expected = only(rows, records)
    shuffled = list(rows)
    chance.shuffle(shuffled)
    assert only(shuffled, records) == expected


def test_a_cell_graded_f_or_failed_counts_as_nothing() -> None:
    rows, records = table(drawn("whole", 1, 0.9, 0.6, 0.5), drawn("masked", 1, 0.9, 0.6, 0.9))
    assert by_name(only(rows, records))["masked"].rank == 1
    masked = [one.model_copy(update={"grade": "F" if one.strength == "8/255" else "B"}) for one in rows[3:]]
    failed = row(None, 400, "no", variant="masked", stressor="pgd-linf", strength="8/255")
    found = [only([*rows[:3], *own], records) for own in (masked, [*rows[3:5], failed])]
    for one in found:
        line = by_name(one)["masked"]
        assert (line.rank, line.rank_low, line.rank_high) == (2, None, None)
        assert (line.worst_cell, line.worst, line.counted, line.cells) == ("pgd-linf@8/255", 0.0, 2, 3)
        assert line.score == pytest.approx((known(rows[3].accuracy) + known(rows[4].accuracy)) / 3)
        assert line.high is not None
        assert line.high < 2 / 3
    assert [by_name(one)["masked"].grade for one in found] == ["F", ""]


def test_models_of_other_cells_samples_or_definitions_are_ranked_apart() -> None:
    whole, records = drawn("whole", 1, 0.9, 0.6, 0.5)
    few, fewer = subject("few", [1] * 400, cells=CELLS[:1])
    small, smaller = drawn("small", 1, 0.9, 0.6, 0.9, n=80)
    other, others = drawn("other", 1, 0.9, 0.6, 0.9)
    other[1] = other[1].model_copy(update={"signature": "pgd-linf;2/255;steps=80"})
    failed = [row(None, 400, "no", variant="failed", stressor=name, strength=at) for name, at in CELLS]
    found = rank_panels([*few, *small, *other, *whole, *failed], records | fewer | smaller | others)
    assert [[line.variant for line in one.lines] for one in found] == [
        ["other", "failed"],
        ["few"],
        ["whole"],
        ["small"],
    ]
    assert [(line.score, line.cells, line.n) for line in found[1].lines] == [(1.0, 1, (400,))]


def test_one_without_a_cell_that_counts_is_certainly_last() -> None:
    rows, records = drawn("vit", 1, 0.9, 0.6, 0.5)
    lost = [row(None, 400, "no", variant="lost", stressor=name, strength=at) for name, at in CELLS]
    best, last = only([*lost, *rows], records).lines
    assert (best.variant, best.rank_low, best.rank_high) == ("vit", 1, 1)
    assert (last.rank, last.score, last.low, last.rank_low, last.reason) == (2, None, None, None, "no cell counts")


def test_without_records_there_is_a_rank_and_no_interval() -> None:
    rows, records = table(drawn("vit", 1, 0.9, 0.6, 0.5), drawn("crate", 2, 0.5, 0.4, 0.3))
    few = {key: one for key, one in records.items() if key != rows[5].key}
    best, other = only(rows, few).lines
    assert (best.rank_low, best.rank_high, best.group) == (1, 2, "a")
    assert (other.rank, other.rank_low, other.rank_high, other.low, other.group) == (2, None, None, None, "")
    assert other.reason == "1 of 3 records are not in the store"


def test_different_samples_are_not_paired() -> None:
    rows, records = drawn("vit", 1, 0.9, 0.6, 0.5)
    others, more = drawn("crate", 2, 0.2, 0.1, 0.1)
    others = [one.model_copy(update={"samples": "others"}) for one in others]
    found = only([*rows, *others], {**records, **more})
    assert found.tests == 0
    assert [(line.rank_low, line.rank_high) for line in found.lines] == [(1, 2), (1, 2)]
    mixed = [rows[0], others[1].model_copy(update={"variant": "vit"}), rows[2]]
    assert only(mixed, {**records, **more}).lines[0].reason == "its cells were measured on different samples"


def perplexities(variant: str, level: float, cells: int = 2) -> Table:
    base = level + 0.3 * np.random.default_rng(3).standard_normal(100)
    rows, records = [], {}
    for (stressor, strength), more in zip([("clean", ""), ("swap", "0.1")][:cells], (0.0, 0.5), strict=False):
        made = scored((base + more).tolist(), signature=stressor, weights=variant)
        records[made.key] = made
        rows.append(text_row(made, variant=variant, stressor=stressor, strength=strength))
    return rows, records


def test_perplexity_is_a_geometric_mean_and_one_that_lacks_is_last() -> None:
    rows, records = table(perplexities("gpt", 3.0), perplexities("crate", 3.4), perplexities("short", 1.0, cells=1))
    failed = text_row(None, 100, "no", variant="short", stressor="swap", strength="0.1")
    found = only([*rows, failed], records)
    assert [(line.variant, line.rank, line.rank_low, line.rank_high) for line in found.lines] == [
        ("gpt", 1, 1, 1),
        ("crate", 2, 2, 2),
        ("short", 3, None, None),
    ]
    best, _, last = found.lines
    values = np.mean([one.token_losses for one in list(records.values())[:2]], axis=0)
    mean, (low, high) = mean_interval(values)
    assert (best.score, best.low, best.high) == pytest.approx(tuple(np.exp([mean, low, high])), rel=1e-12)
    assert best.worst_cell == "swap@0.1"
    assert (last.score, last.low, last.worst_cell, last.worst) == (None, None, "swap@0.1", None)


def test_letters_are_shared_exactly_by_those_that_are_not_told_apart() -> None:
    assert letter_display(np.zeros((0, 0), dtype=np.bool_)) == []
    assert letter_display(np.zeros((3, 3), dtype=np.bool_)) == ["a", "a", "a"]
    ends = np.zeros((3, 3), dtype=np.bool_)
    ends[0, 2] = True
    assert letter_display(ends) == ["a", "ab", "b"]
    assert letter_display(np.triu(np.ones((28, 28), dtype=np.bool_), 1))[25:] == ["z", "a1", "b1"]


@given(st.lists(st.booleans(), min_size=15, max_size=15))
def test_letters_and_intervals_of_any_verdicts(verdicts: list[bool]) -> None:
    better = np.zeros((6, 6), dtype=np.bool_)
    better[np.triu_indices(6, 1)] = verdicts
    shown = [set(one) for one in letter_display(better)]
    for first in range(6):
        for second in range(first + 1, 6):
            assert bool(shown[first] & shown[second]) != better[first, second]
    for place, (low, high) in enumerate(rank_intervals(better)):
        assert 1 <= low <= place + 1 <= high <= 6


def board(rng: np.random.Generator, truth: Sequence[float], n: int, cells: int = 4) -> list[np.ndarray]:
    """One simulated panel: models of these accuracies on common samples, which are easy or hard in all cells."""
    ease = rng.normal(size=(n, 1))
    found = []
    for accuracy in truth:
        right = 0.7 * ease + 0.714 * rng.normal(size=(n, cells)) < float(norm.ppf(accuracy))
        found.append(right.mean(axis=1))
    return found


def covered(better: np.ndarray, truth: Sequence[float]) -> bool:
    """Whether the interval of each model contains all ranks that it may take; ties allow several."""
    for own, (low, high) in zip(truth, rank_intervals(better), strict=True):
        best = 1 + sum(other > own for other in truth)
        worst = len(truth) - sum(other < own for other in truth)
        if low > best or high < worst:
            return False
    return True


def coverage(truth: Sequence[float], n: int, boards: int) -> float:
    pairs = [(at, to) for at in range(len(truth)) for to in range(at + 1, len(truth))]
    rng = np.random.default_rng(17)
    kept = [covered(significantly_better(board(rng, truth, n), pairs), truth) for _ in range(boards)]
    return float(np.mean(kept))


def test_score_intervals_cover_though_the_cells_depend_on_each_other() -> None:
    truth, rng, counted = (0.5, 0.8, 0.9), np.random.default_rng(23), frozenset(CellKey(*cell) for cell in CELLS)
    hits = []
    for _ in range(1000):
        for accuracy, values in zip(truth, board(rng, truth, 200, 3), strict=True):
            interval = sample_score_interval(SampleScores(values=values, counted=counted), 3, accuracy=True)
            assert interval is not None
            hits.append(interval.low <= accuracy <= interval.high)
    assert np.mean(hits) == pytest.approx(0.95, abs=0.015)


def test_rank_intervals_cover_all_ranks_at_once_quickly() -> None:
    # 95 % less three standard errors of 150 boards
    assert coverage((0.6, 0.6, 0.6, 0.6), 100, 150) >= 0.95 - 3 * (0.95 * 0.05 / 150) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize(
    "truth", [(0.6,) * 6, (0.62, 0.6, 0.6, 0.6, 0.58, 0.3), (0.97, 0.97, 0.96, 0.96, 0.96), (0.9, 0.02, 0.02, 0.02)]
)
@pytest.mark.parametrize(("n", "boards"), [(60, 1000), (400, 300)])
def test_rank_intervals_cover_all_ranks_at_once(truth: tuple[float, ...], n: int, boards: int) -> None:
    assert coverage(truth, n, boards) >= 0.95 - 3 * (0.95 * 0.05 / boards) ** 0.5
