"""Vectorised evaluation of the four ListOps operators."""

import numpy as np
from numpy.typing import NDArray


def apply_operators(operators: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Compute the value of each operator from the digits among its arguments.

    Args:
        operators: positions in ``OPERATORS``, (N,).
        counts: how often each digit is among the arguments, (N, 10). Every operator has at least one argument.

    Returns:
        Values from 0 to 9, int64 (N,).
    """
    values = np.empty(len(operators), np.int64)
    for operator, rule in enumerate((_minimum, _maximum, _median, _sum)):
        rows = np.flatnonzero(operators == operator)
        values[rows] = rule(counts[rows])
    return values


def _minimum(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    first: NDArray[np.int64] = (counts > 0).argmax(1)
    return first


def _maximum(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return 9 - _minimum(counts[:, ::-1])


def _median(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Median, rounded down: the mean of the lower and the upper middle argument, found from cumulative counts."""
    passed = counts.cumsum(1)
    size = passed[:, -1:]
    middle: NDArray[np.int64] = (passed <= (size - 1) // 2).sum(1) + (passed <= size // 2).sum(1)
    return middle // 2


def _sum(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    total: NDArray[np.int64] = counts @ np.arange(10)
    return total % 10
