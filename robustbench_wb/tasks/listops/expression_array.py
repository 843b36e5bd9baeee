"""Many expressions in one array, and their token matrix."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.errors import DataError
from robustbench_wb.models.shape import PAD
from robustbench_wb.tasks.listops.expression import FIRST_SYMBOL_ID
from robustbench_wb.tasks.task_tokenizer import CLS


@dataclass(frozen=True, eq=False, kw_only=True)
class Expressions:
    """N expressions, concatenated."""

    symbols: NDArray[np.int8]
    """Symbols of all expressions as positions in ``SYMBOLS``."""
    offsets: NDArray[np.int64]
    """Boundaries (N + 1,): expression i is ``symbols[offsets[i] : offsets[i + 1]]``."""
    labels: NDArray[np.int64]
    """Values of the expressions, 0 to 9, (N,)."""
    tried: int
    """Number of random trees drawn to find the expressions."""
    accepted: int
    """Number of drawn trees with a length within the limits, including those not used."""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of symbols of each expression, (N,)."""
        return np.diff(self.offsets)

    def tokens(self, row: int) -> NDArray[np.int32]:
        """Token ids of expression ``row``, without ``[CLS]``."""
        return self.symbols[self.offsets[row] : self.offsets[row + 1]] + np.int32(FIRST_SYMBOL_ID)


def token_matrix(expressions: Expressions, rows: Sequence[int] | NDArray[np.integer], length: int) -> NDArray[np.int32]:
    """Token ids of the expressions ``rows``: ``[CLS]`` and the symbols, padded on the right, (len(rows), length).

    Raises:
        DataError: an expression has ``length`` symbols or more. Expressions are never cut.
    """
    matrix = np.full((len(rows), length), PAD, np.int32)
    matrix[:, 0] = CLS
    for place, row in enumerate(rows):
        tokens = expressions.tokens(int(row))
        if len(tokens) >= length:
            raise DataError(f"ListOps: expression {row} has {len(tokens)} symbols, at most {length - 1} fit")
        matrix[place, 1 : 1 + len(tokens)] = tokens
    return matrix
