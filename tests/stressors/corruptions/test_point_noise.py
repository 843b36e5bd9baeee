"""Noise on single values: the table compared with the exact distribution of each level, images with numpy's draws."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import stats

from robustbench_wb.stressors.catalogue import parse_stressor
from robustbench_wb.stressors.corruptions.point_noise import PointNoise
from tests.stressors.corruptions import loops
from tests.stressors.corruptions.pictures import tiles

LOOPS = {
    "gaussian-noise": loops.gaussian_noise,
    "shot-noise": loops.shot_noise,
    "impulse-noise": loops.impulse_noise,
    "speckle-noise": loops.speckle_noise,
}


def noise(name: str, numbers: str) -> PointNoise:
    found = parse_stressor(f"{name};{numbers}")
    assert isinstance(found, PointNoise)
    return found


def below(name: str, level: int, amount: float, edge: float) -> float:
    """Exact probability that a value of this level becomes one below ``edge``, on the scale 0..255."""
    if name == "gaussian-noise":
        return float(stats.norm.cdf(edge, level, 255 * amount))
    if name == "speckle-noise":
        return float(stats.norm.cdf(edge, level, level * amount)) if level else float(edge > 0)
    if name == "shot-noise":
        photons = math.ceil(edge * amount / 255 - 1e-9) - 1  # the most that stay below
        return float(stats.poisson.cdf(photons, amount * level / 255))
    return amount / 2 * (edge > 0) + (1 - amount) * (edge > level) + amount / 2 * (edge > 255)


@pytest.mark.parametrize("mode", ["fixed", "reference"])
@pytest.mark.parametrize("severity", [1, 5])
@pytest.mark.parametrize("name", LOOPS)
def test_every_level_has_its_law(name: str, severity: int, mode: str) -> None:
    found = noise(name, f"severity={severity};mode={mode};calibration=224")
    amount = found.severity_constants((32, 32))
    assert isinstance(amount, float | int)
    for level in (0, 1, 3, 100, 200, 254, 255):
        outcomes = found.to_levels(torch.from_numpy(found.quantiles(level, amount)))
        share = np.cumsum(np.bincount(outcomes.numpy(), minlength=256)) / 65536
        edges = np.arange(1, 256) - (0.5 if mode == "fixed" else 0)  # values from here on are rounded up
        exact = [below(name, level, amount, edge=edge) for edge in edges]
        assert np.abs(share[:255] - exact).max() <= 1.01 / 65536


@pytest.mark.parametrize("severity", [1, 3, 5])
@pytest.mark.parametrize("name", LOOPS)
def test_pictures_are_as_far_away_as_numpys(name: str, severity: int) -> None:
    images = tiles(32, 100)
    found = noise(name, f"severity={severity};mode=reference")
    ours = found.perturb(images, torch.arange(100), 0).double() - images
    draw = np.random.default_rng(0)
    pixels = images.permute(0, 2, 3, 1).numpy()
    made = loops.levels(LOOPS[name](pixels / 255, found.severity_constants((32, 32)), draw))  # type: ignore[arg-type]
    theirs = torch.from_numpy(made.astype(np.float64) - pixels)
    assert 10 * math.log10((ours**2).mean() / (theirs**2).mean()) == pytest.approx(0, abs=0.1)  # dB
    assert ours.mean().item() == pytest.approx(theirs.mean().item(), abs=0.15)  # levels


def test_what_a_little_impulse_noise_strikes_more_strikes_as_well() -> None:
    images, ids = tiles(32, 20), torch.arange(20)
    struck = [noise("impulse-noise", f"severity={severity}").perturb(images, ids, 0) for severity in range(1, 6)]
    for less, more in pairwise(struck):
        changed = less != images
        assert torch.equal(more[changed], less[changed])
        assert (more != images).sum() > changed.sum()


def test_values_and_channels_are_independent() -> None:
    grey = torch.full((200, 3, 16, 16), 128, dtype=torch.uint8)
    found = noise("gaussian-noise", "severity=5").perturb(grey, torch.arange(200), 0).double().flatten(1) - 128
    correlation = torch.corrcoef(found[:, ::16].T) - torch.eye(48)
    assert correlation.abs().max() < 5.5 / math.sqrt(200)
