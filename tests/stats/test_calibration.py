"""Calibration error and Brier score against loops and scikit-learn, and the coverage of their intervals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss

from robustbench_wb.stats.calibration import BINS, bin_gaps, brier_score, calibration_error


def answers(seed: int, n: int, excess: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Confidences (N,) and whether each is right: with a probability that is lower by ``excess``."""
    draw = np.random.default_rng(seed)
    confidences = 1 / (1 + np.exp(-draw.normal(1.5, 1.5, n)))
    return confidences, draw.random(n) < np.clip(confidences - excess, 0, 1)


def looped(confidences: np.ndarray, correct: np.ndarray) -> float:
    """Equation 3 of Guo et al. (2017), bin by bin."""
    total = 0.0
    for number in range(BINS):
        low, high = number / BINS, (number + 1) / BINS
        rows = [i for i, one in enumerate(confidences) if low < one <= high or (number == 0 and one == 0)]
        if rows:
            accuracy = sum(bool(correct[i]) for i in rows) / len(rows)
            confidence = sum(confidences[i] for i in rows) / len(rows)
            total += len(rows) / len(confidences) * abs(accuracy - confidence)
    return total


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40))
def test_calibration_error_is_the_loop_over_bins(pairs: list[tuple[float, bool]]) -> None:
    confidences, correct = np.array([one for one, _ in pairs]), np.array([one for _, one in pairs])
    found = calibration_error(confidences, correct)
    assert found.value == pytest.approx(looped(confidences, correct), abs=1e-12)
    assert 0 <= found.interval.low <= found.interval.high <= 1


def test_a_calibrated_model_has_an_error_of_the_size_of_the_noise() -> None:
    for n in (400, 3_000):
        values = [calibration_error(*answers(seed, n)).value for seed in range(5)]
        assert 0.1 * (BINS / n) ** 0.5 < np.mean(values) < 0.5 * (BINS / n) ** 0.5
    assert calibration_error(*answers(0, 3_000, excess=0.2)).value == pytest.approx(0.2, abs=0.03)
    assert calibration_error(np.ones(50), np.zeros(50, np.bool_)).value == 1


@pytest.mark.parametrize("excess", [0.0, 0.05, 0.2])
def test_intervals_cover_the_error_of_many_samples(excess: float) -> None:
    truth = np.abs(bin_gaps(*answers(999, 1_000_000, excess)).mean(0)).sum() if excess else 0.0
    inside = 0
    for seed in range(60):
        _, (low, high) = calibration_error(*answers(seed, 200, excess))
        inside += low <= truth <= high
    assert inside >= 53  # 88 %


def test_brier_score_is_that_of_scikit_learn_and_its_interval_covers() -> None:
    draw = np.random.default_rng(0)
    chances = draw.dirichlet(np.full(4, 0.5), 2_000)
    labels = np.array([draw.choice(4, p=row) for row in chances])
    scores = ((chances - np.eye(4)[labels]) ** 2).sum(1)
    expected = brier_score_loss(labels, chances, labels=[0, 1, 2, 3], scale_by_half=False)
    assert brier_score(scores).value == pytest.approx(expected)
    inside = sum(
        low <= scores.mean() <= high
        for low, high in (brier_score(draw.choice(scores, 60)).interval for _ in range(100))
    )
    assert 88 <= inside <= 99
    assert brier_score(scores[:1]).interval == (0, 2)


def test_no_sample_has_no_calibration() -> None:
    with pytest.raises(ValueError, match="at least one"):
        calibration_error(np.empty(0), np.empty(0, np.bool_))
    with pytest.raises(ValueError, match="at least one"):
        brier_score(np.empty(0))
