"""Area under the ROC curve against scikit-learn and loops, and the coverage of its interval."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from robustbench_wb.stats.auroc import auroc
from robustbench_wb.stats.intervals import wilson


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=25))
def test_area_is_that_of_all_pairs_and_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    inside, outside = np.array(pairs, np.float64).T
    looped = np.mean([(a > b) + (a == b) / 2 for a in inside for b in outside])
    found = auroc(inside, outside)
    assert found.value == pytest.approx(looped)
    labels = np.repeat([1, 0], len(pairs))
    assert found.value == pytest.approx(roc_auc_score(labels, np.concatenate([inside, outside])))
    assert 0 <= found.interval.low <= found.value <= found.interval.high <= 1


@pytest.mark.parametrize("shared", [0.0, 0.8])
def test_intervals_cover_the_area_of_dependent_pairs(shared: float) -> None:
    """``shared`` is the correlation within a pair, on which the area of normal scores does not depend."""

    def scores(draw: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        common = shared**0.5 * draw.normal(size=n)
        own = (1 - shared) ** 0.5 * draw.normal(size=(2, n))
        return common + own[0] + 1, common + own[1]

    truth = 0.7602  # Phi(1 / sqrt(2))
    draw = np.random.default_rng(0)
    found = [auroc(*scores(draw, 60)).interval for _ in range(300)]
    inside = sum(low <= truth <= high for low, high in found)
    assert 273 <= inside <= 296  # 91 to 98.7 %


def test_a_perfect_area_has_the_interval_of_as_many_comparisons_as_samples() -> None:
    inside = np.arange(20.0)
    assert auroc(inside, inside - 100) == (1.0, wilson(20, 20))
    assert auroc(inside, inside + 100) == (0.0, wilson(0, 20))
    with pytest.raises(ValueError, match="pairs"):
        auroc(inside, inside[:3])
