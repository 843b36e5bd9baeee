"""Intervals of a mean over two crossed random effects: every seed is measured on the same samples."""

from math import hypot

from scipy.stats import t


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
    return hypot(samples, float(t.isf((1 - confidence) / 2, seeds - 1)) * seed_error)
