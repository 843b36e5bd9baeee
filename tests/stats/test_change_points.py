"""Change points of paired outcomes over time."""

import numpy as np
import pytest

from robustbench_wb.stats.change_points import change_points
from robustbench_wb.stats.paired import mcnemar


def outcomes(
    shares: list[float], samples: int = 60, seed: int = 0
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Samples of 0 and 1 with the given share of 1 in each evaluation."""
    drawn = np.random.default_rng(seed).random((samples, len(shares)))
    return (drawn < np.array(shares)).astype(np.float64)


def test_two_evaluations_are_the_paired_test() -> None:
    values = np.array([[1.0, 0.0]] * 9 + [[0.0, 1.0]] * 1 + [[1.0, 1.0]] * 5)
    [found] = change_points(values)
    assert found.at == 1
    assert found.p == pytest.approx(float(mcnemar(9, 1)), abs=0.01)
    assert change_points(values[2:]) == []  # 7 against 1: p = 0.07


@pytest.mark.parametrize("samples", [60, 4000])  # permutations, and the normal limit
def test_planted_changes_are_found_where_they_are(samples: int) -> None:
    found = change_points(outcomes([0.9] * 4 + [0.4] * 5 + [0.9] * 3, samples))
    assert [one.at for one in found] == [4, 9]
    assert max(one.p for one in found) < 0.01


@pytest.mark.parametrize("values", [np.ones((5, 4)), np.zeros((3, 1)), np.zeros((0, 3))])
def test_nothing_is_found_where_nothing_changes(values: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> None:
    assert change_points(values) == []


def test_the_normal_limit_agrees_with_permutations(monkeypatch: pytest.MonkeyPatch) -> None:
    values = outcomes([0.62, 0.6, 0.58, 0.55], 400, seed=3)
    permuted = min(one.p for one in change_points(values, alpha=1.0))
    monkeypatch.setattr("robustbench_wb.stats.change_points._PERMUTED", 0)
    assert min(one.p for one in change_points(values, alpha=1.0)) == pytest.approx(permuted, abs=0.02)


@pytest.mark.slow(17)
@pytest.mark.parametrize(("samples", "evaluations"), [(30, 6), (1000, 12)])
def test_false_change_points_are_rare(samples: int, evaluations: int) -> None:
    wrong = sum(bool(change_points(outcomes([0.7] * evaluations, samples, seed))) for seed in range(100))
    assert wrong <= 12  # Binomial(100, 0.05): P(X > 12) < 0.002
