"""Binomial distribution, which scipy.stats has: importing that takes a second, so it is imported when first needed."""

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scipy.stats import rv_discrete


@cache
def binomial() -> "rv_discrete":
    """``scipy.stats.binom``: its functions take counts, numbers of trials and probabilities, as arrays or numbers."""
    from scipy.stats import binom

    return binom
