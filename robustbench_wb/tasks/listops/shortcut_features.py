"""Shortcut features of ListOps: the root operator alone, or the root and the digits directly below it.

The root operator alone makes few labels likely: the minimum of several digits is usually small. A model that does not
beat a lookup table of these features has not learnt to evaluate expressions.
"""

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.tasks.listops.expression import CLOSE, DIGITS, FIRST_SYMBOL_ID, OPERATORS
from robustbench_wb.tasks.listops.vector_operators import apply_operators

_NO_DIGIT = DIGITS


def root_operator(tokens: NDArray[np.integer]) -> NDArray[np.int64]:
    """Token id of the root of each expression, int64 (N,), from ``tokens`` (N, L) with ``[CLS]`` in column 0."""
    return tokens[:, 1].astype(np.int64)


def root_and_literals(tokens: NDArray[np.integer]) -> NDArray[np.int64]:
    """Code of the root operator and its value on those arguments that are digits, int64 (N,).

    A root without digits among its arguments gets a code of its own. ``tokens`` (N, L) have ``[CLS]`` in column 0 and
    are padded on the right.
    """
    symbols = tokens - FIRST_SYMBOL_ID
    opening = (symbols >= DIGITS) & (symbols < DIGITS + len(OPERATORS))
    depth = np.cumsum(opening.astype(np.int8) - (symbols == CLOSE), axis=1, dtype=np.int32)
    row, column = np.nonzero((depth == 1) & (symbols >= 0) & (symbols < DIGITS))
    counts = np.bincount(row * DIGITS + symbols[row, column], minlength=len(tokens) * DIGITS).reshape(-1, DIGITS)
    root = root_operator(tokens)
    some = np.flatnonzero(opening[:, 1] & counts.any(1))
    values = np.full(len(tokens), _NO_DIGIT, np.int64)
    values[some] = apply_operators(root[some] - FIRST_SYMBOL_ID - DIGITS, counts[some])
    return root * (DIGITS + 1) + values
