"""Which samples fell under a stressor, and for which of several subjects."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from robustbench_wb.records.record import Record, State


class BrokenSample(NamedTuple):
    """One sample that was right when clean and wrong under the stressor."""

    sample: int
    """Row number in its split."""
    subjects: tuple[int, ...]
    """Indices of the records where it fell, ascending."""


def broken_samples(records: Sequence[Record]) -> list[BrokenSample]:
    """All samples that fell in at least one record of one cell, those that fell in the fewest first, then by number.

    Args:
        records: one per subject; they need not hold the same samples.
    """
    fell: dict[int, list[int]] = {}
    for at, record in enumerate(records):
        for sample in record.ids[np.asarray(record.states) == State.BROKEN].tolist():
            fell.setdefault(sample, []).append(at)
    return sorted(
        (BrokenSample(sample, tuple(where)) for sample, where in fell.items()), key=lambda flip: (len(flip[1]), flip[0])
    )
