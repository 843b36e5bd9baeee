"""What the label can be guessed from without reading the expression: the root alone, or the digits right below it.

Operators at the root leave few labels likely: the minimum of several digits is mostly small. A model whose score is not
above these has not learnt to evaluate.
"""

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.tasks.listops.expression import CLOSE, DIGITS, FIRST, OPERATORS
from robustbench_wb.tasks.listops.operators import apply

_NO_DIGIT = DIGITS


def root_operator(tokens: NDArray[np.integer]) -> NDArray[np.int64]:
    """The token id of the root of each expression, (N,).

    ``tokens``: (N, L), ``[CLS]`` in column 0, padded on the right.
    """
    return tokens[:, 1].astype(np.int64)


def root_and_literals(tokens: NDArray[np.integer]) -> NDArray[np.int64]:
    """The root and its value if its arguments were those alone that are digits; or that none is. (N,).

    ``tokens``: (N, L), ``[CLS]`` in column 0, padded on the right.
    """
    symbols = tokens - FIRST
    opening = (symbols >= DIGITS) & (symbols < DIGITS + len(OPERATORS))
    depth = np.cumsum(opening.astype(np.int8) - (symbols == CLOSE), axis=1, dtype=np.int32)
    row, column = np.nonzero((depth == 1) & (symbols >= 0) & (symbols < DIGITS))
    counts = np.bincount(row * DIGITS + symbols[row, column], minlength=len(tokens) * DIGITS).reshape(-1, DIGITS)
    root = root_operator(tokens)
    some = np.flatnonzero(opening[:, 1] & counts.any(1))
    values = np.full(len(tokens), _NO_DIGIT, np.int64)
    values[some] = apply(root[some] - FIRST - DIGITS, counts[some])
    return root * (DIGITS + 1) + values
