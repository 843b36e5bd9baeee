"""Distances of the nearest errors: quantiles and area, computed by hand."""

from dataclasses import replace

import numpy as np
import pytest

from robustbench_wb.analysis.curves.distances import distance_summary, sample_distances
from robustbench_wb.records.record import Identity, Record, State

IDENTITY = Identity(
    signature="fmn-linf;eps=1/2;steps=9;step=1",
    ladder=("1/2",),
    stressor_code="",
    data="",
    samples="",
    weights="",
    model_code="",
    numerics="",
    seed=0,
)
RECORD = Record(
    identity=IDENTITY,
    ids=np.array([3, 5, 8, 9, 11], np.int32),
    states=np.array([State.BROKEN, State.WRONG, State.ROBUST, State.BROKEN, State.ROBUST], np.int8),
    losses=np.zeros(5, np.float32),
    forwards=np.zeros(5, np.int32),
    backwards=np.zeros(5, np.int32),
    wobble=0,
    seconds=0.0,
    evidence={"held": 2, "distance/3": 0.25, "distance/8": 0.75, "distance/9": 0.5},
)


def test_quantiles_and_area_are_those_of_all_samples() -> None:
    distances = sample_distances(RECORD)
    assert distances is not None
    assert distances.tolist() == [0.25, 0.0, 0.75, 0.5, np.inf]
    found = distance_summary(RECORD, 0.5)
    assert found is not None
    assert (found.samples, found.found) == (5, 4)
    assert (found.tenth, found.median, found.ninetieth) == (0.0, 0.5, None)
    assert found.area == pytest.approx((0.25 + 0 + 0.5 + 0.5 + 0.5) / 5 / 0.5)
    # The area is the mean accuracy over a fine grid of radii.
    grid = (np.arange(10_000) + 0.5) / 10_000 * 0.5
    assert found.area == pytest.approx(np.mean([(distances > radius).mean() for radius in grid]), abs=1e-3)


def test_records_of_other_attacks_have_no_distances() -> None:
    assert distance_summary(replace(RECORD, evidence={"held": 2}), 0.5) is None
