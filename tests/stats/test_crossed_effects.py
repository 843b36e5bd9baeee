"""The interval of a mean over seeds and samples covers the truth, and has the variance of an independent resampling."""

from math import sqrt

import numpy as np
import pytest
from scipy.stats import t

from robustbench_wb.stats.crossed_effects import crossed_reach
from robustbench_wb.stats.intervals import wilson


@pytest.mark.parametrize(("seeds", "between"), [(3, 0.0), (3, 0.3), (5, 1.0), (10, 0.3)])
def test_the_interval_covers_the_truth(seeds: int, between: float) -> None:
    """Logistic model: sample i is right under seed j with log odds 1 + a_i + b_j, normal with deviations 2 and
    ``between``."""
    random, samples, draws = np.random.default_rng(seeds), 200, 400
    logits = 1 + 2 * random.standard_normal((200_000,)) + between * random.standard_normal((200_000,))
    truth = float((1 / (1 + np.exp(-logits))).mean())
    covered = 0
    for _ in range(draws):
        odds = 1 + 2 * random.standard_normal((1, samples)) + between * random.standard_normal((seeds, 1))
        right = random.random((seeds, samples)) < 1 / (1 + np.exp(-odds))
        means, together = right.mean(axis=1), right.mean(axis=0)
        mean, error = float(means.mean()), float(means.std(ddof=1)) / sqrt(seeds)
        trials = mean * (1 - mean) / (float(together.var()) / samples)
        low, high = wilson(mean * trials, trials)
        down, up = (crossed_reach(reach, seed_error=error, seeds=seeds) for reach in (mean - low, high - mean))
        covered += mean - down <= truth <= mean + up
    assert covered / draws >= 0.94  # conservative: what varies with both effects is counted twice


def test_the_variance_is_that_of_the_pigeonhole_bootstrap() -> None:
    """Owen (2007): draw seeds and, independently, samples. With many of both, t is near z, and both agree."""
    random, seeds, samples = np.random.default_rng(0), 40, 400
    values = 0.5 * random.standard_normal((1, samples)) + 0.1 * random.standard_normal((seeds, 1))
    means = [
        values[random.integers(seeds, size=seeds)][:, random.integers(samples, size=samples)].mean()
        for _ in range(2000)
    ]
    over_samples = float(values.mean(axis=0).std(ddof=1)) / sqrt(samples)
    over_seeds = float(values.mean(axis=1).std(ddof=1)) / sqrt(seeds)
    reach = crossed_reach(1.96 * over_samples, seed_error=over_seeds, seeds=seeds)
    assert reach == pytest.approx(1.96 * np.std(means), rel=0.05)


def test_the_parts_alone() -> None:
    assert crossed_reach(0.03, seed_error=0.0, seeds=3) == pytest.approx(0.03)
    assert crossed_reach(0.0, seed_error=0.01, seeds=3) == pytest.approx(0.01 * 4.3026527)  # t table, 2 degrees
    assert crossed_reach(3.0, seed_error=4 / float(t.isf(0.05, 4)), seeds=5, confidence=0.9) == pytest.approx(5.0)
