"""Norms of threat models: comparison with brute force."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import minimize

from robustbench_wb.norms import L2_NORM, LINF, Norm

Vector = NDArray[np.float64]
NORMS = [LINF, L2_NORM]
ORDER = {"linf": np.inf, "l2": 2}


@pytest.mark.parametrize("norm", NORMS, ids=lambda norm: norm.name)
def test_distance_is_numpys(norm: Norm) -> None:
    delta = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    expected = [np.linalg.norm(row.flatten().numpy(), ORDER[norm.name]) for row in delta]
    np.testing.assert_allclose(norm.distance(delta).numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("norm", NORMS, ids=lambda norm: norm.name)
def test_projection_is_the_nearest_point_of_the_ball(norm: Norm) -> None:
    generator = torch.Generator().manual_seed(1)
    radius = torch.tensor([0.5, 1.0, 3.0]).view(3, 1, 1, 1)
    delta = torch.randn(3, 1, 2, 2, generator=generator)
    projected = norm.project(delta, radius)
    for row, size, found in zip(delta, radius.flatten().tolist(), projected, strict=True):
        point = row.flatten().double().numpy()

        def spare(v: Vector, size: float = size) -> float:
            return float(size - np.linalg.norm(v, ORDER[norm.name]))

        def squared(v: Vector, point: Vector = point) -> float:
            return float(((v - point) ** 2).sum())

        best = minimize(squared, np.zeros(4), constraints=[{"type": "ineq", "fun": spare}], method="SLSQP")
        np.testing.assert_allclose(found.flatten().numpy(), best.x, atol=2e-3)


@pytest.mark.parametrize("norm", NORMS, ids=lambda norm: norm.name)
def test_steepest_step_maximises_the_linear_gain(norm: Norm) -> None:
    generator = torch.Generator().manual_seed(2)
    gradient = torch.randn(1, 1, 3, 3, generator=generator)
    step = norm.steepest_direction(gradient)
    assert float(norm.distance(step)) == pytest.approx(1.0, abs=1e-6)
    gain = float((step * gradient).sum())
    others = torch.randn(2000, 1, 3, 3, generator=generator)
    others = others / norm.distance(others).view(-1, 1, 1, 1)
    assert gain >= float((others * gradient).flatten(1).sum(1).max()) - 1e-6


@pytest.mark.parametrize("norm", NORMS, ids=lambda norm: norm.name)
@pytest.mark.parametrize("scale", [1e-30, 1e-8, 1.0, 1e8])
def test_tiny_and_huge_gradients_give_unit_steps(norm: Norm, scale: float) -> None:
    gradient = scale * torch.randn(4, 1, 3, 3, generator=torch.Generator().manual_seed(3))
    assert torch.allclose(norm.distance(norm.steepest_direction(gradient)), torch.ones(4), atol=1e-5)
    assert float(norm.steepest_direction(torch.zeros(1, 1, 3, 3)).abs().max()) == 0.0


@pytest.mark.parametrize("norm", NORMS, ids=lambda norm: norm.name)
def test_starts_fill_the_ball_uniformly(norm: Norm) -> None:
    draws = norm.uniform_in_ball(torch.arange(4000), (1, 1, 3), seed=0, label="test", step=0)
    distance = norm.distance(draws).numpy()
    assert distance.max() <= 1 + 1e-6
    # The volume inside radius r of a ball in three dimensions is r^3 in every norm.
    assert stats.kstest(distance**3, "uniform").pvalue > 1e-3
    assert abs(float(draws.mean())) < 0.02
