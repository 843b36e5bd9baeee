from math import inf, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap, nct, t, ttest_1samp

from robustbench_wb.stats.intervals import mean_interval
from robustbench_wb.stats.paired import detectable_shift, paired_t

VALUES = st.lists(st.floats(-50, 50).map(lambda x: round(x, 3)), min_size=2, max_size=40)


def test_the_t_interval_by_hand() -> None:
    # Mean 2, s = 1, n = 3: the table of t says 4.302653 for 2 degrees of freedom and 95 %.
    mean, interval = mean_interval(np.array([1.0, 2.0, 3.0]))
    assert mean == 2
    assert interval == pytest.approx((2 - 4.3026527 / 3**0.5, 2 + 4.3026527 / 3**0.5))
    assert mean_interval(np.array([1.5, 1.5])) == (1.5, (1.5, 1.5))


@given(VALUES, st.floats(0.5, 0.999))
def test_the_t_interval_is_scipys(values: list[float], confidence: float) -> None:
    mean, interval = mean_interval(np.array(values), confidence)
    assert mean == pytest.approx(sum(values) / len(values), abs=1e-9)
    if np.std(values) > 1e-6:
        expected = ttest_1samp(values, 0).confidence_interval(confidence)
        assert interval == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_few_values_tell_little() -> None:
    assert mean_interval(np.array([])) == (0, (-inf, inf))
    assert mean_interval(np.array([3.0])) == (3, (-inf, inf))
    assert paired_t(np.array([])) == paired_t(np.array([3.0])) == 1
    assert detectable_shift(np.array([3.0])) is None


@pytest.mark.parametrize(("values", "confidence"), [([nan, 1], 0.95), ([inf, 1], 0.95), ([1, 2], 1.0), ([1, 2], 0.0)])
def test_nonsense_is_refused(values: list[float], confidence: float) -> None:
    with pytest.raises(ValueError, match="must be finite"):
        mean_interval(np.array(values), confidence)


def test_the_interval_agrees_with_a_bootstrap() -> None:
    values = np.random.default_rng(0).gamma(4, 0.25, 400)
    expected = bootstrap((values,), np.mean, n_resamples=4000, rng=np.random.default_rng(1)).confidence_interval
    _, interval = mean_interval(values)
    width = interval.high - interval.low
    assert interval.low == pytest.approx(expected.low, abs=0.06 * width)
    assert interval.high == pytest.approx(expected.high, abs=0.06 * width)


@pytest.mark.parametrize("shift", [0.0, 0.02, 0.05, 0.09])
def test_the_paired_t_test_agrees_with_every_sign_flipped_at_random(shift: float) -> None:
    rng = np.random.default_rng(7)
    differences = rng.standard_normal(250) * 0.4 + rng.exponential(0.2, 250) - 0.2 + shift
    flips = rng.choice([-1.0, 1.0], size=(20000, 250))
    extreme = np.abs(flips @ differences) >= abs(differences.sum())
    expected = (1 + np.count_nonzero(extreme)) / 20001
    noise = 4 * (expected * (1 - expected) / 20000) ** 0.5
    assert paired_t(differences) == pytest.approx(expected, abs=noise + 1e-4)


@given(VALUES)
def test_the_test_and_the_interval_say_the_same_and_do_not_depend_on_the_sign(values: list[float]) -> None:
    differences = np.array(values)
    p, (mean, interval) = paired_t(differences), mean_interval(differences)
    assert paired_t(-differences) == p
    assert mean_interval(-differences) == (-mean, (-interval.high, -interval.low))
    if abs(p - 0.05) > 1e-9:
        assert (p < 0.05) == (not interval.low <= 0 <= interval.high)


def test_differences_without_scatter() -> None:
    assert paired_t(np.zeros(5)) == 1
    assert paired_t(np.full(4, 0.25)) == 0
    assert detectable_shift(np.full(4, 0.25)) is None


def test_false_alarms_stay_at_alpha_for_skewed_differences() -> None:
    rng = np.random.default_rng(2)
    draws = rng.exponential(1, (2000, 60)) - rng.exponential(1, (2000, 60)) ** 1.3
    draws -= 1 - 1.1667119  # the mean of an exponential to the power of 1.3 is gamma(2.3)
    found = np.mean([paired_t(draw) <= 0.05 for draw in draws])
    assert 0.03 < found < 0.07


@pytest.mark.parametrize(("n", "alpha"), [(10, 0.05), (30, 0.05), (30, 0.01), (500, 0.05)])
def test_the_detectable_shift_is_found_in_four_of_five_cases(n: int, alpha: float) -> None:
    differences = np.random.default_rng(n).standard_normal(n)
    shift = detectable_shift(differences, alpha) or 0.0
    noncentrality = shift * n**0.5 / differences.std(ddof=1)
    assert nct.sf(t.isf(alpha / 2, n - 1), n - 1, noncentrality) == pytest.approx(0.8, abs=0.01)
