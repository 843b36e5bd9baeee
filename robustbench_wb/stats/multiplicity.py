"""Multiple-testing corrections."""

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Correction = Literal["holm", "bh"]
"""``holm`` controls the family-wise error rate, ``bh`` the false discovery rate."""


def holm(pvalues: Sequence[float]) -> list[float]:
    """Holm-adjusted p-values, in the given order: rejecting at alpha keeps the family-wise error rate at alpha.

    Holm (1979), Scandinavian Journal of Statistics 6, 65-70. Valid under any dependence between the tests.

    Raises:
        ValueError: a p-value is not between 0 and 1.
    """
    order, values = _ascending(pvalues)
    raised = np.maximum.accumulate(values * np.arange(len(values), 0, -1))
    return _in_place(order, raised)


def benjamini_hochberg(pvalues: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the given order: rejecting at alpha keeps the false discovery rate at alpha.

    Benjamini & Hochberg (1995), Journal of the Royal Statistical Society B 57, 289-300. Valid for independent tests and
    for positively dependent ones (Benjamini & Yekutieli 2001), like tests of one model on the same samples.

    Raises:
        ValueError: a p-value is not between 0 and 1.
    """
    order, values = _ascending(pvalues)
    scaled = values * len(values) / np.arange(1, len(values) + 1)
    return _in_place(order, np.minimum.accumulate(scaled[::-1])[::-1])


CORRECTIONS: Final = {"holm": holm, "bh": benjamini_hochberg}
"""Functions from p-values to adjusted p-values, by ``Correction``."""


def _ascending(pvalues: Sequence[float]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    values = np.asarray(pvalues, dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"p-values must be between 0 and 1: {list(pvalues)}")
    order = np.argsort(values, kind="stable")
    return order, values[order]


def _in_place(order: NDArray[np.int64], adjusted: NDArray[np.float64]) -> list[float]:
    found = np.empty(len(order))
    found[order] = np.minimum(adjusted, 1.0)
    return [float(p) for p in found]
