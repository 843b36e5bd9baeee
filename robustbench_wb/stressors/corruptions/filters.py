"""Linear filters whose results do not depend on the order of a sum: levels times whole numbers, exact in floats.

A level has 8 bits. Weights that are multiples of 2^-16 give sums below 2^24 (float32), and two passes of weights of
2^-20 sums below 2^48 (float64): no addition rounds, so that a batch, a device or a library of matrix products cannot
change a bit. The weights sum to exactly 1: a constant image stays what it is.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BITS = 16
"""Binary places of a weight in float32."""


def whole_weights(weights: Sequence[float] | NDArray[np.float64], bits: int = BITS) -> NDArray[np.float64]:
    """Weights in proportion to the given ones, as multiples of 2^-bits that sum to 1 (rounding by largest remainder).

    No weight moves by as much as 2^-bits.
    """
    share = np.asarray(weights, np.float64)
    exact = share / share.sum() * 2**bits
    whole: NDArray[np.float64] = np.floor(exact)
    missing = int(2**bits - whole.sum())
    whole[np.argsort(whole - exact, kind="stable")[:missing]] += 1
    whole /= 2**bits
    return whole
