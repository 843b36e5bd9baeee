"""Area under the ROC curve of a score that tells paired groups apart, with its interval."""

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.stats.estimate import Estimate
from robustbench_wb.stats.intervals import wilson

Floats = NDArray[np.float64]


def auroc(inside: Floats, outside: Floats) -> Estimate:
    """Probability that a random value of ``inside`` is larger than a random one of ``outside``; ties count half.

    It is the Mann-Whitney statistic over all n^2 pairs. Its variance is that of the placements of DeLong, DeLong &
    Clarke-Pearson (1988, Biometrics 44, 837-845), with the covariance of those of a pair, because an outside value may
    depend on its inside value (Obuchowski 1997, Biometrics 53, 567-578; here a cluster is a pair). The interval is
    Wilson's for the number of independent comparisons of that variance (Rao & Scott 1992, Biometrics 48, 577-585), so
    that it stays in [0, 1] and is not empty at an area of 0 or 1: there it is that of n comparisons.

    Args:
        inside: score of each in-distribution sample, (n,) finite numbers.
        outside: score of the out-of-distribution partner of each sample, (n,) finite numbers.

    Raises:
        ValueError: there are no samples, or the numbers of samples differ.
    """
    n = len(inside)
    if not n or len(outside) != n:
        raise ValueError(f"auroc needs pairs, not {n} and {len(outside)} scores")
    above, below = placements(inside, outside), 1 - placements(outside, inside)
    value = float(above.mean())
    variance = float(np.var(above + below, ddof=1)) / n if n > 1 else 0.0
    effective = value * (1 - value) / variance if variance > 0 and 0 < value < 1 else float(n)
    return Estimate(value, wilson(min(value * effective, effective), effective))


def placements(values: Floats, others: Floats) -> Floats:
    """Share of the others that lie below each value, ties half, (n,)."""
    ordered = np.sort(others)
    twice = np.searchsorted(ordered, values, side="left") + np.searchsorted(ordered, values, side="right")
    found: Floats = twice / (2 * len(others))
    return found
