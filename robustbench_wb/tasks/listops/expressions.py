"""Many expressions in one array, and the token matrices that models read."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.errors import DataError
from robustbench_wb.models.shape import PAD
from robustbench_wb.tasks.listops.expression import FIRST
from robustbench_wb.tasks.vocabulary import CLS


@dataclass(frozen=True, eq=False)
class Expressions:
    """N expressions, one behind the other."""

    symbols: NDArray[np.int8]
    """Positions in :data:`~robustbench_wb.tasks.listops.expression.SYMBOLS`, of all expressions in a row."""
    offsets: NDArray[np.int64]
    """Expression i is ``symbols[offsets[i] : offsets[i + 1]]``; (N + 1,)."""
    labels: NDArray[np.int64]
    """Their values, 0 to 9, (N,)."""
    tried: int
    """How many random trees were made for them."""
    accepted: int
    """How many of these trees had a length within the limits, wanted or not."""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Symbols of each expression, (N,)."""
        return np.diff(self.offsets)

    def tokens(self, row: int) -> NDArray[np.int32]:
        """The token ids of one expression, without ``[CLS]``."""
        return self.symbols[self.offsets[row] : self.offsets[row + 1]] + np.int32(FIRST)


def token_matrix(expressions: Expressions, rows: Sequence[int] | NDArray[np.integer], length: int) -> NDArray[np.int32]:
    """``[CLS]`` and the symbols of the expressions ``rows``, padded on the right, (len(rows), length).

    Raises:
        DataError: an expression has ``length`` symbols or more; none is ever cut.
    """
    matrix = np.full((len(rows), length), PAD, np.int32)
    matrix[:, 0] = CLS
    for place, row in enumerate(rows):
        tokens = expressions.tokens(int(row))
        if len(tokens) >= length:
            raise DataError(f"ListOps: expression {row} has {len(tokens)} symbols, at most {length - 1} fit")
        matrix[place, 1 : 1 + len(tokens)] = tokens
    return matrix
