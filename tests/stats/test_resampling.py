from itertools import product
from math import inf, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap, permutation_test, ttest_1samp

from robustbench_wb.stats.paired import mcnemar
from robustbench_wb.stats.resampling import FLIPS, bca_intervals, sign_flip_p

WHOLE = st.lists(st.integers(-20, 20), min_size=1, max_size=9)


@settings(max_examples=40, deadline=None)
@given(WHOLE)
def test_few_values_by_all_patterns_in_a_loop(values: list[int]) -> None:
    total = abs(sum(values))
    sums = [abs(sum(sign * value for sign, value in zip(signs, values, strict=True)))
            for signs in product((1, -1), repeat=len(values))]  # fmt: skip
    assert sign_flip_p([np.array(values, dtype=np.float64)]) == [np.mean([found >= total for found in sums])]


def test_few_values_are_scipys() -> None:
    values = np.random.default_rng(0).standard_normal(10) + 0.4
    expected = permutation_test((values, np.zeros(10)), lambda a, b: np.mean(a - b), permutation_type="samples")
    assert sign_flip_p([values]) == [pytest.approx(expected.pvalue)]


@pytest.mark.parametrize("changed", range(14))
def test_of_outcomes_it_is_mcnemars_test(changed: int) -> None:
    columns = [np.repeat([-1.0, 1.0, 0.0], [lost, changed - lost, 7]) for lost in range(changed + 1)]
    losses = np.arange(changed + 1)
    assert sign_flip_p(columns) == pytest.approx(mcnemar(losses, changed - losses))


@pytest.mark.parametrize("shift", [0.0, 0.02, 0.05, 0.09])
def test_many_values_agree_with_the_t_test(shift: float) -> None:
    rng = np.random.default_rng(7)
    differences = rng.standard_normal(250) * 0.4 + rng.exponential(0.2, 250) - 0.2 + shift
    expected = ttest_1samp(differences, 0).pvalue
    noise = float(4 * (expected * (1 - expected) / FLIPS) ** 0.5)
    assert sign_flip_p([differences]) == [pytest.approx(expected, abs=noise + 2e-3)]


def test_many_outcomes_agree_with_mcnemars_test() -> None:
    cells = [(30, 20), (60, 30), (200, 180), (9, 9)]
    found = sign_flip_p([np.repeat([-1.0, 1.0], cell) for cell in cells])
    for (lost, gained), p in zip(cells, found, strict=True):
        exact = float(mcnemar(lost, gained))
        assert p == pytest.approx(exact, abs=4 * (exact * (1 - exact) / FLIPS) ** 0.5 + 1e-4)


def test_far_below_the_resolution_p_is_hoeffdings_bound_of_the_exact_one() -> None:
    (p,) = sign_flip_p([np.repeat([-1.0, 1.0], [90, 10])])
    assert float(mcnemar(90, 10)) < p == pytest.approx(2 * np.exp(-(80**2) / 200))
    # The bound stays significant in a family of 1,000 cells; a p of 1/10,000 could not.
    assert 1000 * p < 0.05


def test_neighbours_order_and_sign_change_nothing() -> None:
    rng = np.random.default_rng(1)
    columns = [rng.standard_normal(n) for n in (5, 40, 200, 65, 1000)]
    together = sign_flip_p(columns)
    assert [sign_flip_p([column])[0] for column in columns] == together
    assert sign_flip_p(columns[::-1]) == together[::-1]
    assert sign_flip_p([-column for column in columns]) == together
    assert sign_flip_p([np.concatenate([np.zeros(99), column]) for column in columns]) == together


def test_nothing_to_flip() -> None:
    assert sign_flip_p([np.zeros(5), np.empty(0), np.array([3.0])]) == [1, 1, 1]
    assert sign_flip_p([]) == []


def test_false_alarms_of_skewed_differences() -> None:
    """The level is exact for exchangeable pairs, even for skewed losses."""
    rng = np.random.default_rng(2)
    draws = rng.exponential(1, (2000, 60)) ** 2 - rng.exponential(1, (2000, 60)) ** 2
    assert np.mean(np.array(sign_flip_p(list(draws))) <= 0.05) <= 0.05 + 2 * (0.05 * 0.95 / 2000) ** 0.5


def test_bca_is_close_to_scipys() -> None:
    values = np.random.default_rng(3).gamma(0.7, 1, 80)
    (found,) = bca_intervals([values], [0.9])
    rng = np.random.default_rng(4)
    expected = bootstrap((values,), np.mean, confidence_level=0.9, n_resamples=40_000, method="BCa", rng=rng)
    low, high = expected.confidence_interval
    assert found[0] == pytest.approx((low, high), abs=0.03 * (high - low))


def test_bca_follows_the_skew() -> None:
    values = np.random.default_rng(5).exponential(1, 50)
    ((found,),) = bca_intervals([values], [0.95])
    assert found.high - values.mean() > 1.1 * (values.mean() - found.low)


@pytest.mark.slow
def test_bca_covers_nineteen_times_in_twenty() -> None:
    """Coverage for skewed and normal differences of 200 units, to within one point and the noise of 2,000 intervals."""
    rng = np.random.default_rng(6)
    skewed, normal = rng.exponential(1, (2000, 200)) - 1, rng.standard_normal((2000, 200))
    for draws in (skewed, normal):
        found = [low <= 0 <= high for ((low, high),) in bca_intervals(list(draws), [0.95])]
        assert 0.94 - 0.01 <= np.mean(found) <= 0.96 + 0.01


def test_bca_mirrors_and_ignores_its_neighbours() -> None:
    rng = np.random.default_rng(8)
    columns = [rng.gamma(1, 1, n) for n in (30, 30, 7)]
    together = bca_intervals(columns, [0.95, 0.9])
    for column, found in zip(columns, together, strict=True):
        (alone,) = bca_intervals([column], [0.95, 0.9])
        (mirrored,) = bca_intervals([-column], [0.95, 0.9])
        for (low, high), one, other in zip(found, alone, mirrored, strict=True):
            assert one == pytest.approx((low, high), rel=1e-12)
            assert other == pytest.approx((-high, -low), rel=1e-12)
        assert found[0].low < found[1].low < column.mean() < found[1].high < found[0].high


def test_bca_of_little() -> None:
    assert bca_intervals([np.empty(0), np.array([2.0]), np.full(4, 2.0)], [0.95]) == [
        [(-inf, inf)],
        [(-inf, inf)],
        [(2.0, 2.0)],
    ]
    for values, confidence in (([nan, 1.0], 0.95), ([1.0, 2.0], 1.0)):
        with pytest.raises(ValueError, match="must be finite"):
            bca_intervals([np.array(values)], [confidence])
