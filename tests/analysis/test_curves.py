"""Strength curves against hand-computed values and brute force, and their intervals against the exact distribution."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from robustbench_wb.analysis.curves.strength_curves import (
    StrengthCurve,
    breakdown_strength,
    strength_curves,
    trapezoid_weights,
)
from robustbench_wb.stats.intervals import bootstrap_interval, wilson
from tests.known import known
from tests.report.curve_sample import FACTS, cell, counted, curve_run, failed
from tests.store.make import text_row

LADDERS = st.lists(
    st.tuples(st.fractions(Fraction(1, 50), 1, max_denominator=50), st.integers(0, 20)),
    min_size=1,
    unique_by=lambda x: x[0],
)


def found(name: str, variant: str = "vit") -> StrengthCurve:
    rows, records = curve_run()
    (curve,) = [
        one for one in strength_curves(rows, records) if (one.stressor, one.rows[-1].variant) == (name, variant)
    ]
    return curve


def test_by_hand() -> None:
    curve = found("label-noise:pair")
    assert curve.strengths == (0.0, 0.2, 0.4)
    # (0.9 + 0.7) / 2 x 0.2 and (0.7 + 0.3) / 2 x 0.2, over 0.4.
    assert curve.area == pytest.approx(0.65)
    assert curve.threshold == pytest.approx(0.5)  # halfway between 0.9 and 1/10
    assert curve.breakdown == pytest.approx(0.3)
    mild = found("label-noise:pair", "crate")
    assert mild.area == pytest.approx(0.7)
    assert (mild.threshold, mild.breakdown) == (pytest.approx(0.45), None)
    # Accuracies .9, .8, .7, .6, .5, .4 at 0 to 5: the area is the mean of 0.9 and 0.4; the line passes 0.5 at 4.
    fog = found("fog")
    assert fog.strengths == (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)
    assert fog.area == pytest.approx(0.65)
    assert fog.breakdown == pytest.approx(4.0)


@given(st.integers(0, 20), LADDERS)
def test_area_and_breakdown_of_any_ladder(clean: int, ladder: list[tuple[Fraction, int]]) -> None:
    made = [cell(counted(clean, 20), stressor="clean", strength="")]
    made += [cell(counted(right, 20), stressor="duplicates", strength=str(rate)) for rate, right in ladder]
    (curve,) = strength_curves([row for row, _ in made], {record.key: record for _, record in made})
    xs, ys = zip((0.0, clean / 20), *sorted((float(rate), right / 20) for rate, right in ladder), strict=True)
    assert curve.area == pytest.approx(np.trapezoid(ys, xs) / xs[-1])
    assert known(curve.low) <= known(curve.area) + 1e-12
    assert known(curve.area) <= known(curve.high) + 1e-12
    if clean / 20 <= 0.1:
        assert curve.threshold is None
        return
    threshold = (clean / 20 + 0.1) / 2
    grid = np.union1d(np.linspace(0, xs[-1], 400), xs)
    below = grid[np.interp(grid, xs, ys) < threshold - 1e-9]
    assert (curve.breakdown is None) == (len(below) == 0)
    if curve.breakdown is not None:
        assert np.interp(curve.breakdown, xs, ys) == pytest.approx(threshold)
        assert curve.breakdown <= below[0]
        assert not (grid[np.interp(grid, xs, ys) < threshold - 1e-9] < curve.breakdown - 1e-9).any()


def test_weights_add_up_and_a_step_down_is_found() -> None:
    assert trapezoid_weights(np.array([0, 0.1, 0.5])).tolist() == pytest.approx([0.1, 0.5, 0.4])
    assert breakdown_strength(np.array([0.0, 0.5, 1.0]), np.array([1.0, 0.2, 0.9]), 0.6) == pytest.approx(0.25)


def test_a_tie_that_rounding_hides_is_no_breakdown() -> None:
    strengths, accuracies = np.array([0.0, 1.0]), np.array([0.6, 0.35])
    assert breakdown_strength(strengths, accuracies, float(np.nextafter(0.35, 1))) is None
    assert breakdown_strength(strengths, accuracies, 0.35 + 1 / 10_000) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(("n", "right"), [(200, 140), (360, 350), (50, 25)])
def test_the_bootstrap_of_a_proportion_is_binomial(n: int, right: int) -> None:
    low, high = bootstrap_interval(np.array(counted(right, n), float))
    # The 50th smallest of 2000 draws: its rank has a standard deviation of 7 draws, 0.35 %; here 5 deviations.
    assert binom.cdf(round(low * n) - 1, n, right / n) < 0.025 + 0.0175
    assert binom.cdf(round(low * n), n, right / n) > 0.025 - 0.0175
    assert binom.cdf(round(high * n) - 1, n, right / n) < 0.975 + 0.0175
    assert binom.cdf(round(high * n), n, right / n) > 0.975 - 0.0175


def test_the_bootstrap_agrees_with_drawing_samples_one_by_one() -> None:
    values = np.random.default_rng(0).choice([0.0, 0.25, 0.5, 1.0], 300)
    draws = np.random.default_rng(1).integers(0, 300, (20_000, 300))
    slow = np.percentile(values[draws].mean(1), [2.5, 97.5])
    deviation = values.std() / np.sqrt(300)
    # The 2.5 % point of 2000 draws has a standard deviation of 0.06 deviations of the mean.
    assert np.abs(np.array(bootstrap_interval(values)) - slow).max() < 4 * 0.063 * deviation
    assert bootstrap_interval(values) == bootstrap_interval(values[::-1])
    assert bootstrap_interval(np.full(9, 0.25)) == (0.25, 0.25)


@pytest.mark.parametrize("values", [[], [0.5, np.nan]])
def test_what_has_no_interval_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="bootstrap_interval"):
        bootstrap_interval(np.array(values))


def test_samples_are_drawn_together_for_all_strengths() -> None:
    right = np.random.default_rng(2).integers(0, 2, 100)

    def width(other: np.ndarray) -> float:
        made = [cell(right.tolist(), stressor="clean", strength=""), cell(other.tolist(), stressor="fog", strength="1")]
        (curve,) = strength_curves([row for row, _ in made], {record.key: record for _, record in made})
        return known(curve.high) - known(curve.low)

    # A sample that is correct at one of two strengths has the same area for either strength.
    assert width(1 - right) == 0
    assert width(right) > 0.15


def test_a_ladder_with_a_strength_0_begins_there() -> None:
    made = [
        cell(counted(9), stressor="clean", strength=""),
        cell(counted(7), stressor="duplicates", strength="0"),
        cell(counted(5), stressor="duplicates", strength="1/2"),
    ]
    (curve,) = strength_curves([row for row, _ in made], {})
    assert [row.strength for row in curve.rows] == ["0", "1/2"]
    assert curve.area == pytest.approx(0.6)
    assert (curve.low, curve.high) == (None, None)


def test_what_is_lacking_is_not_made_up() -> None:
    rows, records = curve_run()
    (broken,) = [one for one in strength_curves(rows, records) if one.stressor == "duplicates"]
    assert [row.strength for row in broken.failed] == ["1/2"]
    assert (broken.area, broken.breakdown, broken.threshold) == (None, None, None)
    alone = [row for row in rows if row.stressor == "fog" and row.variant == "vit"]
    (curve,) = strength_curves(alone, records)
    assert curve.area is None
    assert not curve.failed
    clean, rung = (cell(counted(9), stressor=name, strength=s) for name, s in (("clean", ""), ("fog", "1")))
    (curve,) = strength_curves([clean[0], failed(stressor="fog", strength="2"), rung[0]], {})
    assert curve.area is None
    other = replace(rung[1], ids=rung[1].ids + 1)
    (curve,) = strength_curves([clean[0], rung[0]], {clean[1].key: clean[1], rung[1].key: other})
    assert (curve.area, curve.low) == (pytest.approx(0.9), None)
    early = [row.model_copy(update={"classes": 0}) for row in (clean[0], rung[0])]
    assert strength_curves(early, {})[0].threshold is None
    assert strength_curves([text_row(None, 5, "no", stressor="fog", strength="1")], {}) == []
    assert strength_curves([clean[0]], {}) == []


def test_a_trigger_has_a_wilson_interval_over_the_samples_it_aims_at() -> None:
    rows, records = curve_run()
    (curve,) = [
        one for one in strength_curves(rows, records) if one.stressor == "backdoor" and one.rows[-1].variant == "vit"
    ]
    (success,) = curve.success
    assert (success.strength, success.share) == ("1/20", 7 / 9)
    assert (success.low, success.high) == wilson(7, 9)
    (without,) = [
        one for one in strength_curves(rows, {}) if one.stressor == "backdoor" and one.rows[-1].variant == "vit"
    ]
    assert (without.success[0].share, without.success[0].low) == (7 / 9, None)
    assert FACTS["classes"] == 10
