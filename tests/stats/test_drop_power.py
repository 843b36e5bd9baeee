"""Power of the tests of a gate: by enumeration, by a published formula, and by simulation of the tests themselves."""

from functools import partial
from math import sqrt
from statistics import NormalDist

import numpy as np
import pytest
from scipy.stats import binom, multinomial

from robustbench_wb.analysis.compare.overall import ClusteredOutcomes, CrossedSeeds
from robustbench_wb.stats.crossed_effects import seeds_needed
from robustbench_wb.stats.drop_power import (
    power_to_exclude,
    power_to_show,
    samples_needed,
    shares_at,
    smallest_drop,
)
from robustbench_wb.stats.paired import p_drop_beyond, tango_interval

QUANTILE = NormalDist().inv_cdf


@pytest.mark.parametrize(
    ("n", "lost", "gained", "margin", "alpha"),
    [
        (60, 0.1, 0.02, 0.02, 0.05),
        (40, 0.2, 0.1, 0.05, 0.05),
        (50, 0.05, 0.05, 0.05, 0.0025),
        (50, 0.3, 0.3, 0.0, 0.05),
        (30, 0.0, 0.0, 0.1, 0.05),
        (25, 1.0, 0.0, 0.1, 0.05),
    ],
)
def test_power_is_the_sum_over_all_outcomes(n: int, lost: float, gained: float, margin: float, alpha: float) -> None:
    lose, gain = np.divmod(np.arange((n + 1) ** 2), n + 1)
    lose, gain = lose[lose + gain <= n], gain[lose + gain <= n]
    counts = np.stack([lose, gain, n - lose - gain], axis=1)
    weight = multinomial.pmf(counts, n, [lost, gained, 1 - lost - gained])
    total = np.full(len(lose), n)
    shown = weight[p_drop_beyond(total, lose, gain, margin=margin) <= alpha].sum()
    excluded = weight[tango_interval(total, lose, gain, confidence=1 - 2 * alpha)[0] >= -margin].sum()
    assert power_to_show(n, lost, gained, margin=margin, alpha=alpha) == pytest.approx(shown, abs=1e-6)
    assert power_to_exclude(n, lost, gained, margin=margin, alpha=alpha) == pytest.approx(excluded, abs=1e-6)


@pytest.mark.parametrize(("changed", "drop"), [(0.1, 0.1), (0.2, 0.1), (0.05, 0.05), (0.2, 0.05)])
def test_samples_without_a_margin_are_those_of_connor(changed: float, drop: float) -> None:
    """Connor (1987), Biometrics 43, 207-211: asymptotic, for McNemar's test. The exact test needs a few more."""
    lost, gained = shares_at(changed, drop)
    discordant = lost + gained
    level, power = QUANTILE(0.95) * sqrt(discordant), QUANTILE(0.8) * sqrt(discordant - drop**2)
    published = ((level + power) / drop) ** 2
    needed = samples_needed(lambda n: power_to_show(n, lost, gained, margin=0, alpha=0.05), 0.8)
    assert needed is not None
    assert published <= needed <= published + 3 / drop


@pytest.mark.parametrize("margin", [0.02, 0.05])
def test_samples_to_exclude_a_drop_are_those_of_nam(margin: float) -> None:
    """Nam (1997), Biometrics 53, 1422-1430: asymptotic, with the variance under the limit from the likeliest shares."""
    losing = np.linspace(margin, 0.5, 100_001)[1:-1]
    fit = 0.05 * np.log(losing) + 0.05 * np.log(losing - margin) + 0.9 * np.log(1 + margin - 2 * losing)
    limit = sqrt(2 * float(losing[np.argmax(fit)]) - margin - margin**2)
    published = ((QUANTILE(0.95) * limit + QUANTILE(0.8) * sqrt(0.1)) / margin) ** 2
    needed = samples_needed(lambda n: power_to_exclude(n, 0.05, 0.05, margin=margin, alpha=0.05), 0.8)
    assert needed == pytest.approx(published, rel=0.05)


def test_the_tests_decide_as_often_as_planned() -> None:
    """Simulated samples through the tests of the gate, at the level of the first of five cells in Holm's correction."""
    changed, margin, drop, level, draws = 0.08, 0.04, 0.1, 0.01, 4000
    random = np.random.default_rng(5)
    needs = []
    for true, alpha in ((drop, level), (0.0, 0.05)):
        lost, gained = shares_at(changed, true)
        power = power_to_show if true else power_to_exclude
        n = samples_needed(partial(power, lost=lost, gained=gained, margin=margin, alpha=alpha), 0.8) or 0
        lose, gain, _ = random.multinomial(n, [lost, gained, 1 - lost - gained], size=draws).T
        total = np.full(draws, n)
        if true:
            found = p_drop_beyond(total, lose, gain, margin=margin) <= alpha
        else:
            found = tango_interval(total, lose, gain, confidence=1 - 2 * alpha)[0] >= -margin
        exact = power(n, lost, gained, margin=margin, alpha=alpha)
        assert 0.8 <= exact < 0.83
        assert binom.ppf(0.001, draws, exact) <= np.count_nonzero(found) <= binom.isf(0.001, draws, exact)
        needs.append(n)
    assert smallest_drop(needs[0], changed, margin=margin, alpha=level) == pytest.approx(drop, abs=0.001)


def test_many_samples_take_interpolated_critical_counts() -> None:
    """With n = 20,000 the counts of gains are more than those whose critical count is found; simulated instead."""
    n, lost, gained = 20_000, 0.075, 0.05
    random = np.random.default_rng(0)
    lose, gain, _ = random.multinomial(n, [lost, gained, 1 - lost - gained], size=3000).T
    excluded = tango_interval(np.full(3000, n), lose, gain, confidence=0.9)[0] >= -0.03
    exact = power_to_exclude(n, lost, gained, margin=0.03, alpha=0.05)
    assert np.mean(excluded) == pytest.approx(exact, abs=4 * sqrt(exact * (1 - exact) / 3000))


def test_what_cannot_be_reached_is_none() -> None:
    assert smallest_drop(3, 0.1, margin=0.01, alpha=0.05) is None
    assert smallest_drop(0, 0.1, margin=0.01, alpha=0.05) is None
    assert samples_needed(lambda n: 0.5, 0.8) is None
    assert seeds_needed(1.0, 0.5, distance=1e-3) is None
    with pytest.raises(ValueError, match="out of range"):
        power_to_show(10, 0.7, 0.5, margin=0.1, alpha=0.05)


@pytest.mark.parametrize("between", [0.0, 0.02])
def test_the_seeds_needed_decide_as_often_as_planned(between: float) -> None:
    """Simulated retrainings through the interval of an architecture over its seeds."""
    n, changed, margin, draws = 400, 0.1, 0.03, 300
    within = changed / n
    seeds = seeds_needed(between**2 + within, within, distance=margin) or 0
    random, passed = np.random.default_rng(1), 0
    for _ in range(draws):
        shifts = np.clip(between * random.standard_normal((seeds, 1)), -changed, changed)
        draw = random.random((seeds, n))
        rows = (draw < (changed + shifts) / 2).astype(float) - (draw > 1 - (changed - shifts) / 2)
        passed += crossed(rows).interval(0.1).low >= -margin
    low = 0.8 if between else 0.85  # without seeds' own variance, what varies with both counts twice
    assert low - 0.06 <= passed / draws <= 1
    assert passed / draws <= 0.86 or not between


def crossed(rows: np.ndarray) -> CrossedSeeds:
    cases = [ClusteredOutcomes.of_differences(row, 1) for row in rows]
    return CrossedSeeds(cases, [np.arange(rows.shape[1])] * len(rows), accuracy=True)
