from math import inf, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap, nct, t, ttest_1samp

from robustbench_wb.stats.intervals import mean_interval
from robustbench_wb.stats.paired import detectable_shift

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


def test_differences_without_scatter() -> None:
    assert detectable_shift(np.full(4, 0.25)) is None


@pytest.mark.parametrize(("n", "alpha"), [(10, 0.05), (30, 0.05), (30, 0.01), (500, 0.05)])
def test_the_detectable_shift_is_found_in_four_of_five_cases(n: int, alpha: float) -> None:
    differences = np.random.default_rng(n).standard_normal(n)
    shift = detectable_shift(differences, alpha) or 0.0
    noncentrality = shift * n**0.5 / differences.std(ddof=1)
    assert nct.sf(t.isf(alpha / 2, n - 1), n - 1, noncentrality) == pytest.approx(0.8, abs=0.01)
