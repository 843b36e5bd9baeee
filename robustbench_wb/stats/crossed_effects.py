"""Intervals of a mean over two crossed random effects: every seed is measured on the same samples."""

from math import hypot, sqrt
from typing import Final

import numpy as np
from scipy.special import gammaincinv, ndtr, ndtri, stdtrit  # scipy.stats, which calls them, takes a second to import

MOST_SEEDS: Final = 1000
"""Largest number of seeds that is tried."""


def crossed_reach(samples: float, *, seed_error: float, seeds: int, confidence: float = 0.95) -> float:
    """Half width of an interval of a mean over seeds and samples.

    The variance of the mean is the variance between seeds plus the variance between samples, as in a bootstrap that
    draws seeds and, independently, samples (Owen 2007, The pigeonhole bootstrap, Annals of Applied Statistics 1,
    386-411); what varies with both is counted in both, so that the interval is wide rather than narrow. Bootstrap
    percentiles undercover with few seeds. Therefore the half width is the root of the sum of the squared half widths of
    the two parts, ``sqrt(samples^2 + (t s / sqrt(S))^2)`` with S - 1 degrees of freedom for S seeds (Howe 1974, Journal
    of the American Statistical Association 69, 789-794).

    Args:
        samples: half width over the samples alone, of the mean over the seeds.
        seed_error: standard error of the mean over the seeds, s / sqrt(S).
        seeds: number of seeds, at least 2.
        confidence: nominal coverage, above 0 and below 1.
    """
    return hypot(samples, -float(stdtrit(seeds - 1, (1 - confidence) / 2)) * seed_error)


def seeds_needed(
    between: float, within: float, *, distance: float, alpha: float = 0.05, wanted: float = 0.8
) -> int | None:
    """Smallest number of seeds with which the 1 - 2 alpha interval of ``crossed_reach`` ends within ``distance`` of a
    true mean of 0, on one side, with probability ``wanted``.

    The means of the seeds are taken as normal, so that their mean and their standard deviation are independent; the
    probability is the mean over the quantiles of the latter.

    Args:
        between: variance of the measured mean of a seed, at least ``within``.
        within: variance of the measured mean of a seed over samples alone.
        distance: accepted distance, above 0.
        alpha: level of the one-sided test.
        wanted: probability.

    Returns:
        The number, at least 2; None if it is above ``MOST_SEEDS``.
    """
    quantiles = (np.arange(200) + 0.5) / 200
    for seeds in range(2, MOST_SEEDS + 1):
        chi_square = 2 * gammaincinv((seeds - 1) / 2, quantiles)
        errors = np.sqrt(between * chi_square / (seeds - 1) / seeds)
        over_seeds = -float(stdtrit(seeds - 1, alpha)) * errors
        reach = np.hypot(-float(ndtri(alpha)) * sqrt(within / seeds), over_seeds)
        if float(ndtr((distance - reach) / max(sqrt(between / seeds), 1e-300)).mean()) >= wanted:
            return seeds
    return None
