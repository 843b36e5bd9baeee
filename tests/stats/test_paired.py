from itertools import pairwise
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustbench_wb.stats.paired import detectable_drop, holm, mcnemar, power

PVALUES = st.lists(st.floats(0, 1), max_size=20)


@pytest.mark.parametrize("changed", range(15))
def test_mcnemar_is_the_sum_of_what_is_no_likelier(changed: int) -> None:
    ways = [comb(changed, k) for k in range(changed + 1)]
    for lost in range(changed + 1):
        expected = sum(count for count in ways if count <= ways[lost]) / 2**changed
        assert mcnemar(lost, changed - lost) == pytest.approx(expected)


def test_mcnemar_where_others_fail() -> None:
    assert mcnemar(0, 0) == 1
    assert mcnemar(0, 4) == mcnemar(4, 0) == 0.125
    with pytest.raises(ValueError, match="negative"):
        mcnemar(-1, 2)


def test_holm_by_hand() -> None:
    # 4 x 0.01, 3 x 0.013, 2 x 0.02, 1 x 0.9; the second may not fall below the first.
    assert holm([0.02, 0.01, 0.9, 0.013]) == pytest.approx([0.04, 0.04, 0.9, 0.04])
    assert holm([]) == []
    assert holm([0.03]) == [0.03]
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([float("nan")])


@given(PVALUES)
def test_holm_lies_between_the_raw_p_and_bonferroni_and_keeps_the_order(pvalues: list[float]) -> None:
    adjusted = holm(pvalues)
    for raw, found in zip(pvalues, adjusted, strict=True):
        assert raw <= found <= min(1, raw * len(pvalues)) or found == pytest.approx(raw * len(pvalues))
    ordered = [found for _, found in sorted(zip(pvalues, adjusted, strict=True))]
    assert all(first <= second for first, second in pairwise(ordered))


@given(PVALUES, st.randoms(use_true_random=False))
def test_holm_does_not_depend_on_the_order(pvalues: list[float], random: object) -> None:
    order = list(range(len(pvalues)))
    random.shuffle(order)  # type: ignore[attr-defined]
    shuffled = holm([pvalues[index] for index in order])
    assert shuffled == [holm(pvalues)[index] for index in order]


def test_false_alarms_stay_below_alpha() -> None:
    rng = np.random.default_rng(3)
    changes = rng.multinomial(1000, [0.02, 0.02, 0.96], size=(1000, 5))
    families = [holm([mcnemar(int(c[0]), int(c[1])) for c in family]) for family in changes]
    assert np.mean([min(family) <= 0.05 for family in families]) <= 0.05 + 0.013


def test_power_against_simulation_and_the_99_percent_of_the_design() -> None:
    assert power(1000, 0.04, 0.01) == pytest.approx(0.99, abs=0.005)
    rng = np.random.default_rng(5)
    drawn = rng.multinomial(200, [0.08, 0.03, 0.89], size=3000)
    found = np.mean([mcnemar(int(d[0]), int(d[1])) <= 0.05 and d[0] > d[1] for d in drawn])
    assert power(200, 0.08, 0.03) == pytest.approx(found, abs=0.03)


def test_power_at_the_ends() -> None:
    assert power(0, 0.1, 0.0) == power(10, 0.0, 0.0) == 0
    assert power(5, 1.0, 0.0) == 0
    assert power(6, 1.0, 0.0) == pytest.approx(1)
    assert power(1000, 0.02, 0.02) <= 0.025
    with pytest.raises(ValueError, match="out of range"):
        power(10, 0.6, 0.6)


@pytest.mark.parametrize(("n", "points"), [(1000, 2.0), (5000, 0.9), (10000, 0.6)])
def test_detectable_drop_with_5_percent_changed(n: int, points: float) -> None:
    assert 100 * (detectable_drop(n, 0.05) or 0) == pytest.approx(points, abs=0.05)


def test_detectable_drop_at_the_ends() -> None:
    assert detectable_drop(5, 0.1) is None
    assert detectable_drop(0, 0.0) is None
    # Six losses are the fewest that the exact test finds; about eight must be expected to see six in 80 %.
    assert 1000 * (detectable_drop(1000, 0.0) or 0) == pytest.approx(7.9, abs=0.15)
    assert (detectable_drop(50, 0.05) or 0) > 0.1
