"""Texts of a column of a dataset, which stay in its Arrow table until they are read."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, overload

import numpy as np

if TYPE_CHECKING:
    from datasets import Dataset as HubRows

_ROWS = 4096
"""Rows read at once."""


class ColumnTexts(Sequence[str]):
    """Texts of a column in the order of its rows, without blank ones.

    A list of strings would take several times the bytes of the Arrow table.
    """

    def __init__(self, rows: "HubRows", column: str) -> None:
        self._rows, self._column = rows.select_columns([column]), column
        self._kept = np.flatnonzero([bool(text.strip()) for text in self._every()])

    def _every(self) -> Iterator[str]:
        for part in self._rows.iter(batch_size=_ROWS):
            yield from (str(text or "") for text in part[self._column])

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[str]:
        return (text for text in self._every() if text.strip())

    @overload
    def __getitem__(self, at: int) -> str: ...

    @overload
    def __getitem__(self, at: slice) -> list[str]: ...

    def __getitem__(self, at: int | slice) -> str | list[str]:
        if isinstance(at, slice):
            return [str(text) for text in self._rows[self._kept[at].tolist()][self._column]]
        return str(self._rows[int(self._kept[at])][self._column])
