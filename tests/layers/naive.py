"""The measures once more, written as slowly and plainly as possible, in float64 numpy, one sample at a time."""

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def unit_rows(x: Array) -> Array:
    return np.array([row / np.linalg.norm(row) if row.any() else row for row in x])


def subspace_rate(values: Array) -> float:
    """(H, n, p), real tokens only; the n x n form."""
    total = 0.0
    for head in values:
        w = unit_rows(head)
        n, p = w.shape
        total += 0.5 * np.linalg.slogdet(np.eye(n) + p / (n * 0.01) * w @ w.T)[1]
    return total


def stream_rate(tokens: Array) -> float:
    """(n, d); the d x d form."""
    z = unit_rows(tokens)
    n, d = z.shape
    return float(0.5 * np.linalg.slogdet(np.eye(d) + d / (n * 0.01) * z.T @ z)[1])


def entropy(matrix: Array, allowed: NDArray[np.bool_]) -> tuple[float, float]:
    """(H, n, n) of real tokens; in nats, and over its greatest where a query has a choice."""
    nats, shares = [], []
    for head in matrix:
        for i, row in enumerate(head):
            h = 0.0
            for j, a in enumerate(row):
                if allowed[i, j] and a > 0:
                    h -= a * math.log(a)
            nats.append(h)
            if allowed[i].sum() > 1:
                shares.append(h / math.log(allowed[i].sum()))
    return float(np.mean(nats)), float(np.mean(shares)) if shares else math.nan


def similarity(tokens: Array) -> float:
    z = unit_rows(tokens)
    pairs = [z[i] @ z[j] for i in range(len(z)) for j in range(len(z)) if i != j]
    return float(np.mean(pairs)) if pairs else math.nan
