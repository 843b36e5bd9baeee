from itertools import pairwise
from math import comb, log, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.stats import binom, false_discovery_control, norm

from robustbench_wb.stats.multiplicity import benjamini_hochberg, holm
from robustbench_wb.stats.paired import critical_counts, detectable_drop, mcnemar, mcnemar_power, tango_interval

PVALUES = st.lists(st.floats(0, 1), max_size=20)
COUNTS = st.integers(0, 400)


@pytest.mark.parametrize("changed", range(15))
def test_mcnemar_is_the_sum_of_what_is_no_likelier(changed: int) -> None:
    ways = [comb(changed, k) for k in range(changed + 1)]
    losses = np.arange(changed + 1)
    expected = [sum(count for count in ways if count <= ways[lost]) / 2**changed for lost in losses]
    assert mcnemar(losses, changed - losses) == pytest.approx(expected)


def test_mcnemar_where_others_fail() -> None:
    assert mcnemar(0, 0) == 1
    assert mcnemar(0, 4) == mcnemar(4, 0) == 0.125
    with pytest.raises(ValueError, match="negative"):
        mcnemar(-1, 2)


@pytest.mark.parametrize(
    ("n", "lost", "gained", "low", "high"),
    [
        # The two worked examples of Fagerland, Lydersen & Laake (2017), Statistical Analysis of Contingency Tables,
        # chapter 8: Bentur et al. 2009 (1, 1, 7, 12) and Cavo et al. 2012 (59, 6, 16, 80).
        (21, 7, 1, -0.517, -0.026),
        (161, 16, 6, -0.1240, -0.0054),
    ],
)
def test_score_interval_published(n: int, lost: int, gained: int, low: float, high: float) -> None:
    digits = 5e-4 if n == 21 else 5e-5
    assert tango_interval([n], [lost], [gained]) == (
        pytest.approx([low], abs=digits),
        pytest.approx([high], abs=digits),
    )


def rejected(difference: float, n: int, lost: int, gained: int, z: float) -> bool:
    """Score test with the probability of a loss from a numerical maximum of the likelihood."""

    def surprise(losing: float) -> float:
        shares = (losing, losing + difference, 1 - 2 * losing - difference)
        return -sum(
            k * log(max(share, 1e-300)) for k, share in zip((lost, gained, n - lost - gained), shares, strict=True)
        )

    bounds = (max(0.0, -difference), (1 - difference) / 2)
    losing = minimize_scalar(surprise, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x
    spread = (n * (2 * losing + difference * (1 - difference))) ** 0.5
    return bool(abs(gained - lost - n * difference) > z * spread)


@pytest.mark.parametrize(("n", "lost", "gained"), [(30, 4, 2), (200, 9, 1), (1000, 3, 12), (50, 20, 30), (40, 0, 5)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_score_interval_holds_what_a_numerical_score_test_does_not_reject(
    n: int, lost: int, gained: int, confidence: float
) -> None:
    (low,), (high,) = tango_interval([n], [lost], [gained], confidence=confidence)
    z = float(norm.isf((1 - confidence) / 2))
    for end, outward in ((low, -1e-4), (high, 1e-4)):
        assert rejected(end + outward, n, lost, gained, z) or abs(end) == 1
        assert not rejected(end - outward, n, lost, gained, z)


@given(COUNTS, COUNTS, COUNTS)
def test_score_interval_contains_the_estimate_and_mirrors(same: int, lost: int, gained: int) -> None:
    n = same + lost + gained
    (low,), (high,) = tango_interval([n], [lost], [gained])
    assert -1 <= low <= (gained - lost) / max(n, 1) + 1e-12
    assert (gained - lost) / max(n, 1) - 1e-12 <= high <= 1
    assert tango_interval([n], [gained], [lost]) == ([-high], [-low])


def test_score_interval_without_samples_or_change() -> None:
    assert tango_interval([0], [0], [0]) == ([-1], [1])
    (low,), (high,) = tango_interval([1000], [0], [0])
    # z^2 / (n + z^2), the upper end of Wilson's interval of 0 in n.
    assert -low == high == pytest.approx(3.841459 / 1003.841459)
    for n, lost, gained in ((5, -1, 0), (5, 3, 3)):
        with pytest.raises(ValueError, match="out of range"):
            tango_interval([n], [lost], [gained])


def outcomes(n: int, losing: float, gaining: float) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """All likely numbers of lost and gained samples, with their probabilities."""
    changed = losing + gaining
    first, last = int(binom.ppf(1e-12, n, changed)), int(binom.isf(1e-12, n, changed))
    either, gained = np.meshgrid(np.arange(first, last + 1), np.arange(last + 1), indexing="ij")
    chance = binom.pmf(either, n, changed) * binom.pmf(gained, either, gaining / changed)
    keep = chance > 1e-15
    return (either - gained)[keep], gained[keep], chance[keep]


@pytest.mark.parametrize("n", [50, 200, 1000, 5000])
@pytest.mark.parametrize("gains", [0.5, 0.2])
@pytest.mark.parametrize("changes", [1, 2, 5, 10, 25, 50, 100])
def test_score_interval_covers_nineteen_times_in_twenty(n: int, changes: int, gains: float) -> None:
    """Exact summation shows at least nominal coverage; with few changes the interval covers more."""
    if changes > 0.4 * n:
        return
    share = changes / n
    lost, gained, chance = outcomes(n, share * (1 - gains), share * gains)
    low, high = tango_interval(np.full(len(lost), n), lost, gained)
    true = share * (2 * gains - 1)
    covered = float(chance[(low <= true) & (true <= high)].sum())
    assert covered >= 0.935
    assert covered <= 0.96 or changes <= 5
    assert covered >= 0.94 or changes <= 5


@pytest.mark.parametrize("n", [200, 500, 1000, 5000])
@pytest.mark.parametrize("excess", [1.0, 1.2, 2.0, 4.0])
def test_equivalence_is_wrong_at_most_once_in_twenty(n: int, excess: float) -> None:
    """At a true drop equal to the margin the 90 % interval lies inside in at most 5 %, by exact summation."""
    margin, changed = 0.01, 0.01 * excess
    lost, gained, chance = outcomes(n, (changed + margin) / 2, (changed - margin) / 2 + 1e-15)
    low, high = tango_interval(np.full(len(lost), n), lost, gained, confidence=0.9)
    assert float(chance[(-margin <= low) & (high <= margin)].sum()) <= 0.05


def test_holm_by_hand() -> None:
    # 4 x 0.01, 3 x 0.013, 2 x 0.02, 1 x 0.9; the second may not fall below the first.
    assert holm([0.02, 0.01, 0.9, 0.013]) == pytest.approx([0.04, 0.04, 0.9, 0.04])
    assert holm([]) == []
    assert holm([0.03]) == [0.03]
    for adjust in (holm, benjamini_hochberg):
        with pytest.raises(ValueError, match="between 0 and 1"):
            adjust([nan])


@given(PVALUES)
def test_benjamini_hochberg_is_scipys(pvalues: list[float]) -> None:
    expected = list(false_discovery_control(pvalues)) if pvalues else []
    assert benjamini_hochberg(pvalues) == pytest.approx(expected)


@given(PVALUES)
def test_adjusted_p_lie_between_the_raw_and_bonferroni_and_keep_the_order(pvalues: list[float]) -> None:
    for adjusted in (holm(pvalues), benjamini_hochberg(pvalues)):
        for raw, found in zip(pvalues, adjusted, strict=True):
            assert raw <= found * (1 + 1e-12)
            assert found <= min(1, raw * len(pvalues)) or found == pytest.approx(raw * len(pvalues))
        ordered = [found for _, found in sorted(zip(pvalues, adjusted, strict=True))]
        assert all(first <= second for first, second in pairwise(ordered))


@given(PVALUES, st.randoms(use_true_random=False))
def test_adjusting_does_not_depend_on_the_order(pvalues: list[float], random: object) -> None:
    order = list(range(len(pvalues)))
    random.shuffle(order)  # type: ignore[attr-defined]
    for adjust in (holm, benjamini_hochberg):
        shuffled = adjust([pvalues[index] for index in order])
        assert shuffled == [adjust(pvalues)[index] for index in order]


def test_false_alarms_stay_below_alpha() -> None:
    rng = np.random.default_rng(3)
    changes = rng.multinomial(1000, [0.02, 0.02, 0.96], size=(2000, 5))
    families = mcnemar(changes[..., 0], changes[..., 1])
    assert np.mean([min(holm(family)) <= 0.05 for family in families]) <= 0.05


def test_power_against_simulation_and_the_99_percent_of_the_design() -> None:
    assert mcnemar_power(1000, 0.04, 0.01) == pytest.approx([0.99], abs=0.005)
    rng = np.random.default_rng(5)
    lost, gained, _ = rng.multinomial(200, [0.08, 0.03, 0.89], size=20000).T
    found = np.mean((mcnemar(lost, gained) <= 0.05) & (lost > gained))
    assert mcnemar_power(200, 0.08, 0.03) == pytest.approx([found], abs=0.012)


def test_power_of_many_cells_is_that_of_each() -> None:
    n, lost, gained = np.array([20, 1000, 300]), np.array([0.2, 0.04, 0.0]), np.array([0.1, 0.01, 0.02])
    alone = [float(mcnemar_power(*cell)[0]) for cell in zip(n, lost, gained, strict=True)]
    assert mcnemar_power(n, lost, gained) == pytest.approx(alone, abs=1e-9)


def test_power_at_the_ends() -> None:
    assert mcnemar_power([0, 10, 5], [0.1, 0.0, 1.0], 0.0).tolist() == [0, 0, 0]
    assert mcnemar_power(6, 1.0, 0.0) == pytest.approx([1])
    assert mcnemar_power(1000, 0.02, 0.02) <= 0.025
    with pytest.raises(ValueError, match="out of range"):
        mcnemar_power(10, 0.6, 0.6)


@pytest.mark.parametrize("alpha", [0.05, 0.01, 0.2])
def test_critical_counts_are_scipys(alpha: float) -> None:
    counts = np.concatenate([np.arange(600), np.geomspace(600, 1e7, 60).astype(np.int64)])
    assert (critical_counts(counts, alpha) == binom.isf(alpha / 2, counts, 0.5) + 1).all()


@pytest.mark.parametrize(("n", "points"), [(1000, 2.0), (5000, 0.9), (10000, 0.6)])
def test_detectable_drop_with_5_percent_changed(n: int, points: float) -> None:
    assert 100 * detectable_drop(n, 0.05) == pytest.approx([points], abs=0.05)


def test_detectable_drop_at_the_ends() -> None:
    assert np.isnan(detectable_drop([5, 0], [0.1, 0.0])).all()
    # The exact test needs at least six losses; about eight expected losses give six in 80 % of the runs.
    assert 1000 * detectable_drop(1000, 0.0) == pytest.approx([7.9], abs=0.15)
    assert detectable_drop(50, 0.05) > 0.1
    drop = detectable_drop([700, 700], 0.08)
    assert mcnemar_power(700, (0.08 + drop[0]) / 2, (0.08 - drop[0]) / 2) == pytest.approx([0.8], abs=0.005)
