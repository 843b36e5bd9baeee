"""Evidence that holds at every stopping time: by enumeration of all outcomes, by simulation, and its properties."""

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from robustbench_wb.stats.sequential import BETS, WEIGHTS, anytime_p, log_evidence, sample_order

VALUES = st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=1, max_size=60)
LIMITS = st.floats(-0.9, 0.9)


@pytest.mark.parametrize(("lost", "gained"), [(0.2, 0.1), (0.1, 0.1), (0.4, 0.0), (0.05, 0.35)])
def test_nothing_can_be_won_at_the_limit(lost: float, gained: float) -> None:
    """The mean capital over all 3^7 outcomes is 1 after every sample, and lower if the mean is below the limit."""
    chances = {1.0: lost, 0.0: 1 - lost - gained, -1.0: gained}
    outcomes = np.array(list(product(chances, repeat=7)))
    weight = np.prod(np.vectorize(chances.__getitem__)(outcomes), axis=1)
    assert weight @ np.exp(log_evidence(outcomes, lost - gained)) == pytest.approx(np.ones(7))
    assert (weight @ np.exp(log_evidence(outcomes, lost - gained + 0.1)) < 1).all()


@pytest.mark.parametrize("values", [(1, 1, -1, 0, 0, 0, 0), (1, -1, -1, -1, 0, 0, 0), (1, 1, 1, 0, 0, 0, 0)])
def test_nothing_can_be_won_without_replacement(values: tuple[int, ...]) -> None:
    """The mean capital over all orders of a finite set whose mean is the limit is 1 after every sample."""
    orders, mean = np.array(list(permutations(values)), dtype=float), sum(values) / len(values)
    capital = np.exp(log_evidence(orders, mean, total=len(values)))
    np.testing.assert_allclose(capital.mean(axis=0), 1, rtol=1e-6)
    # A mean above the limit is certain in the end, and sooner if no outcome of what is left could change it.
    certain = log_evidence(orders, mean - 0.5 / len(values), total=len(values))
    assert np.isinf(certain[:, -1]).all()
    possible = np.cumsum(orders, axis=1) - np.arange(len(values))[::-1] <= mean * len(values) - 0.5
    np.testing.assert_array_equal(np.isinf(certain), np.logical_or.accumulate(~possible, axis=1))


@given(VALUES, LIMITS)
def test_the_evidence_is_the_mixture_of_bets_in_any_order(values: list[float], limit: float) -> None:
    capital = sum(
        weight * np.prod([1 + bet * (value - limit) / (1 + limit) for value in values])
        for bet, weight in zip(BETS, WEIGHTS, strict=True)
    )
    assert log_evidence(values, limit)[-1] == pytest.approx(np.log(capital), abs=1e-8)
    assert log_evidence(values[::-1], limit)[-1] == pytest.approx(np.log(capital), abs=1e-8)


@given(VALUES, LIMITS, st.integers(0, 20))
def test_p_never_rises_and_larger_values_are_more_evidence(values: list[float], limit: float, more: int) -> None:
    for total in (None, len(values) + more):
        evidence = log_evidence(values, limit, total=total)
        p = anytime_p(evidence)
        assert ((p >= 0) & (p <= 1)).all()
        assert (np.diff(p) <= 0).all()
        raised = log_evidence(np.minimum(np.array(values) + 0.5, 1), limit, total=total)
        assert (raised >= evidence - 1e-9).all()


@pytest.mark.parametrize("total", [None, 200])
@pytest.mark.parametrize(("lost", "gained"), [(10, 8), (25, 15)])
def test_looking_after_every_sample_errs_at_most_as_often_as_declared(
    lost: int, gained: int, total: int | None
) -> None:
    """Both directions, with the mean at the limit, 2,000 simulations of 200 samples."""
    random, n = np.random.default_rng(7), 200
    values = np.repeat([1.0, -1.0, 0.0], [lost, gained, n - lost - gained])
    draws = random.permuted(np.tile(values, (2000, 1)), axis=1) if total else random.choice(values, size=(2000, n))
    for side in (1, -1):
        p = anytime_p(log_evidence(side * draws, side * (lost - gained) / n, total=total))
        assert np.count_nonzero(p[:, -1] <= 0.05) <= binom.isf(0.001, 2000, 0.05)


def test_a_large_difference_is_found_early() -> None:
    random = np.random.default_rng(8)
    draws = random.choice([1.0, -1.0, 0.0], p=[0.25, 0.05, 0.7], size=(200, 400))
    first = np.argmax(anytime_p(log_evidence(draws, 0.01)) <= 0.05, axis=1)
    assert 20 <= np.median(first) <= 80


def test_the_order_depends_on_seed_and_ids_only() -> None:
    ids = np.arange(500)
    order = sample_order(ids, 3)
    assert sorted(order) == list(ids)
    some = ids[::3]
    assert [one for one in ids[order] if one % 3 == 0] == list(some[sample_order(some, 3)])
    assert list(order) != list(sample_order(ids, 4))
    assert sorted(sample_order([-2, -1, 0], 0)) == [0, 1, 2]
    # Evidence of a random order: the first half is not the smaller ids.
    assert abs(ids[order[:250]].mean() - 249.5) < 30


@pytest.mark.parametrize(("values", "limit", "total"), [([1.1], 0.1, None), ([1], 1.0, None), ([1, 0], 0.1, 1)])
def test_nonsense_is_no_evidence(values: list[float], limit: float, total: int | None) -> None:
    with pytest.raises(ValueError, match="log_evidence"):
        log_evidence(values, limit, total=total)
