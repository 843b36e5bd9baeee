"""Accuracy by length: the isotonic fit, the effective length, and its interval."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustbench_wb.analysis.curves.length_curves import effective_length


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [
        ([0.9, 0.9, 0.9], 256.0),  # never down: the longest one
        ([0.9, 0.5, 0.1], 128.0),  # down to (0.9 + 0.1) / 2 just there
        ([0.9, 0.9, 0.1], 128 * 2**0.5),  # halfway in log length
        ([0.9, 0.1, 0.1], 64 * 2**0.5),
        ([0.1, 0.1, 0.1], 64.0),  # nothing to lose
    ],
)
def test_by_hand(accuracies: list[float], expected: float) -> None:
    assert effective_length([64, 128, 256], np.array(accuracies), 0.1) == pytest.approx(expected)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=6), st.floats(0, 0.5))
def test_it_lies_within_what_was_measured_and_is_where_half_is_left(values: list[float], guess: float) -> None:
    accuracies = np.sort(values)[::-1]
    lengths = [16 * 2**step for step in range(len(values))]
    found = effective_length(lengths, accuracies, guess)
    assert lengths[0] <= found <= lengths[-1] * (1 + 1e-12)
    if lengths[0] < found < lengths[-1]:
        there = np.interp(np.log(found), np.log(lengths), accuracies)
        assert there == pytest.approx((accuracies[0] + guess) / 2, abs=1e-6)
