from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from robustbench_wb.stats.intervals import Interval, paired_difference, wilson

COUNTS = st.integers(0, 400)


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.5, 0.999))
def test_wilson_is_scipys(case: tuple[int, int], confidence: float) -> None:
    successes, n = case
    expected = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    found = wilson(successes, n, confidence)
    assert found == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0 <= found.low <= successes / n <= found.high <= 1


def test_wilson_at_the_ends() -> None:
    assert wilson(0, 0) == (0, 1)
    assert wilson(0, 10).low == 0
    assert wilson(10, 10).high == 1


@pytest.mark.parametrize("case", [(-1, 3, 0.95), (4, 3, 0.95), (1, 3, 0.0), (1, 3, 1.0), (1, -3, 0.95)])
def test_wilson_refuses_nonsense(case: tuple[int, int, float]) -> None:
    with pytest.raises(ValueError, match="out of range"):
        wilson(*case)


@pytest.mark.parametrize(
    ("both", "gained", "lost", "neither", "difference", "low", "high"),
    [
        # Newcombe 1998, table of worked examples, method 10.
        (36, 12, 2, 0, "10/50", 0.0569, 0.3404),
        # Cavo et al. 2012 in Fagerland, Lydersen, Laake 2017, chapter 8: square-and-add interval.
        (59, 6, 16, 80, "-10/161", -0.1186, -0.0046),
    ],
)
def test_newcombe_published(
    both: int, gained: int, lost: int, neither: int, difference: str, low: float, high: float
) -> None:
    found, interval = paired_difference(both, lost, gained, neither)
    assert found == pytest.approx(float(Fraction(difference)))
    assert interval == pytest.approx((low, high), abs=5e-5)


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_newcombe_contains_the_estimate_and_mirrors(both: int, lost: int, gained: int, neither: int) -> None:
    difference, (low, high) = paired_difference(both, lost, gained, neither)
    assert -1 <= low <= difference <= high <= 1
    mirrored, interval = paired_difference(both, gained, lost, neither)
    assert (mirrored, *interval) == pytest.approx((-difference, -high, -low), abs=1e-12)


def test_newcombe_without_samples_or_change() -> None:
    assert paired_difference(0, 0, 0, 0) == (0, (-1, 1))
    difference, interval = paired_difference(1000, 0, 0, 0)
    assert difference == 0
    assert interval.within(0.004)
    with pytest.raises(ValueError, match="negative"):
        paired_difference(1, -1, 0, 0)


def test_newcombe_covers_nineteen_times_in_twenty() -> None:
    rng = np.random.default_rng(7)
    shares = [0.6, 0.06, 0.03, 0.31]
    drawn = rng.multinomial(300, shares, size=2000)
    hits = [paired_difference(*map(int, row))[1] for row in drawn]
    covered = np.mean([low <= -0.03 <= high for low, high in hits])
    assert 0.935 <= covered <= 0.975


def test_within() -> None:
    assert Interval(-0.01, 0.01).within(0.01)
    assert not Interval(-0.011, 0.0).within(0.01)
