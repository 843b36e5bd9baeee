"""Samples that a perturbation breaks, and the models that it breaks them for."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from robustbench_wb.records.record import Record, State


class BrokenSample(NamedTuple):
    """Sample that at least one model classifies correctly when clean and wrongly when perturbed."""

    sample: int
    """Row number in the split."""
    models: tuple[int, ...]
    """Indices of the records in which the sample is broken, ascending."""


def broken_samples(records: Sequence[Record]) -> list[BrokenSample]:
    """Samples that are broken in at least one record of a cell.

    Args:
        records: records of one cell, one per model; their samples may differ.

    Returns:
        The samples, those broken for the fewest models first, then by row number.
    """
    broken: dict[int, list[int]] = {}
    for at, record in enumerate(records):
        for sample in record.ids[np.asarray(record.states) == State.BROKEN].tolist():
            broken.setdefault(sample, []).append(at)
    found = [BrokenSample(sample, tuple(models)) for sample, models in broken.items()]
    return sorted(found, key=lambda one: (len(one.models), one.sample))
