"""Order of trials on a ladder of radii: it always ends, at the true radius, and quickly if the loss is linear."""

from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustbench_wb.stressors.attacks.radius_bisection import RadiusBisection

RADII = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
NUMBERS = st.floats(allow_nan=True, allow_infinity=True)


def trials(brackets: RadiusBisection, first_broken: int, heights: list[float]) -> list[int]:
    """Try radii until the sample is decided."""
    tried: list[int] = []
    while (rung := brackets.next_rung(0)) is not None:
        assert rung not in tried
        tried.append(rung)
        brackets.record_trial(0, rung, broken=rung >= first_broken, height=heights[rung])
    return tried


@given(st.integers(0, 8), st.none() | st.tuples(NUMBERS, NUMBERS), st.lists(NUMBERS, min_size=8, max_size=8))
def test_whatever_the_losses_are_the_boundary_is_proved(
    first_broken: int, look: tuple[float, float] | None, heights: list[float]
) -> None:
    brackets = RadiusBisection(RADII, 1)
    if look is not None:
        clean, slope = look
        brackets.record_clean_margin(0, clean, slope)
    tried = trials(brackets, first_broken, heights)
    assert first_broken == 0 or first_broken - 1 in tried
    assert first_broken == 8 or first_broken in tried


@given(st.integers(0, 8), st.floats(0.01, 100))
def test_a_straight_loss_takes_two_trials(first_broken: int, slope: float) -> None:
    crossing = first_broken + 0.5
    brackets = RadiusBisection(RADII, 1)
    brackets.record_clean_margin(0, -slope * crossing, slope)
    heights = [slope * (radius - crossing) for radius in RADII]
    expected = [rung for rung in (first_broken - 1, first_broken) if 0 <= rung < 8]
    assert trials(brackets, first_broken, heights) == expected


def test_a_wrong_first_guess_is_mended_by_the_first_trial() -> None:
    """The gradient at the image predicts an error at radius 2; the loss is not linear and crosses zero at 6.5."""
    brackets = RadiusBisection(RADII, 1)
    brackets.record_clean_margin(0, -6.5, 3.25)
    assert trials(brackets, 6, [radius - 6.5 for radius in RADII]) == [0, 5, 6]


@pytest.mark.parametrize("slope", [0.0, nan, -1.0])
def test_without_a_slope_the_largest_radius_comes_first(slope: float) -> None:
    brackets = RadiusBisection(RADII, 1)
    brackets.record_clean_margin(0, -1.0, slope)
    assert brackets.next_rung(0) == 7


def test_without_a_look_the_bracket_is_halved() -> None:
    assert trials(RadiusBisection(RADII, 1), 5, [inf] * 8) == [4, 6, 5]
