"""Samples that are measured again, and what is seen of them then: no record keeps what a stressor made."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.records.names import Slot
from robustbench_wb.records.record import Record


@dataclass(frozen=True, eq=False)
class SampleSelection:
    """Some samples of a stored cell."""

    slot: Slot
    record: Record
    ids: NDArray[np.int32]
    """Ascending."""


@dataclass(frozen=True, eq=False)
class PerturbedSample:
    """One perturbed sample."""

    inputs: NDArray[Any]
    """The image, float32 (C, H, W) in [0, 1], or token ids (L,)."""
    text: str | None
    """The text that the ids stand for; None where no text was perturbed."""
    answer: int
    """The class that the subject answers."""


@dataclass(frozen=True)
class PerturbedSamples:
    """What could be seen of some cells, by slot."""

    samples: Mapping[Slot, Mapping[int, PerturbedSample]]
    """By sample id."""
    refused: Mapping[Slot, str]
    """Why there is nothing."""
