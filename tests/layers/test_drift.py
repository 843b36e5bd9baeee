"""Tables of layers: means over what is defined, and paired drifts."""

import math

import numpy as np
import pytest
from scipy import stats

from robustbench_wb.layers.drift import drift
from robustbench_wb.layers.table import LayerTable, join_tables

GENERATOR = np.random.default_rng(0)


def table(values: np.ndarray, first: int = 0) -> LayerTable:
    return LayerTable(np.arange(first, first + values.shape[1]), {"entropy": values.astype(float)})


def test_mean_and_std_are_over_samples_that_have_a_number() -> None:
    made = table(np.array([[1.0, 2.0, math.nan, 6.0], [math.nan, 5.0, math.inf, math.nan]]))
    assert made.defined("entropy").tolist() == [3, 1]
    assert made.mean("entropy").tolist() == [3.0, 5.0]
    assert made.std("entropy")[0] == pytest.approx(np.std([1, 2, 6], ddof=1))
    assert math.isnan(made.std("entropy")[1])
    nothing = table(np.full((2, 3), math.nan))
    assert np.isnan(nothing.mean("entropy")).all()


def test_parts_join_and_samples_are_selected_by_id() -> None:
    values = GENERATOR.normal(size=(2, 6))
    made = join_tables([table(values[:, :4]), table(values[:, 4:], first=4)])
    assert made.layers == 2
    picked = made.select(np.array([5, 0]))
    assert picked.ids.tolist() == [5, 0]
    np.testing.assert_array_equal(picked.values["entropy"], values[:, [5, 0]])
    with pytest.raises(ValueError, match="9"):
        made.select(np.array([9]))
    with pytest.raises(ValueError, match="no tables"):
        join_tables([])


def test_drift_is_the_paired_t_interval() -> None:
    clean = GENERATOR.normal(size=(3, 20))
    stressed = clean + GENERATOR.normal(loc=0.3, size=(3, 20))
    found = drift(table(clean), table(stressed))["entropy"]
    for layer in range(3):
        test = stats.ttest_rel(stressed[layer], clean[layer]).confidence_interval(0.95)
        assert found.mean[layer] == pytest.approx((stressed - clean)[layer].mean())
        assert (found.low[layer], found.high[layer]) == pytest.approx((test.low, test.high))
    assert found.pairs.tolist() == [20] * 3


def test_drift_of_few_pairs() -> None:
    found = drift(table(np.array([[1.0, math.nan], [1.0, 2.0]])), table(np.array([[3.0, 1.0], [1.0, 2.0]])))["entropy"]
    assert found.mean.tolist() == [2.0, 0.0]
    assert found.pairs.tolist() == [1, 2]
    assert math.isnan(found.low[0])
    assert (found.low[1], found.high[1]) == (0.0, 0.0)
    none = drift(table(np.array([[math.nan]])), table(np.array([[1.0]])))["entropy"]
    assert math.isnan(none.mean[0])


def test_a_drift_needs_the_same_samples_and_layers() -> None:
    values = np.zeros((2, 3))
    for other in (table(values, first=1), table(np.zeros((1, 3)))):
        with pytest.raises(ValueError, match="same samples and layers"):
            drift(table(values), other)
