"""Samples that are measured again, and their perturbed inputs, which no record keeps."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.records.names import Slot
from robustbench_wb.records.record import Record


@dataclass(frozen=True, eq=False)
class SampleSelection:
    """Selected samples of a stored cell."""

    slot: Slot
    record: Record
    ids: NDArray[np.int32]
    """Ids of the samples, ascending."""


@dataclass(frozen=True, eq=False, kw_only=True)
class PerturbedSample:
    """One perturbed sample."""

    inputs: NDArray[Any]
    """The image, float32 (C, H, W) in [0, 1], or token ids (L,)."""
    text: str | None = None
    """The text that the token ids stand for; None if no text was perturbed."""
    answer: int | None = None
    """Class that the model predicts; None in segmentation."""
    mask: NDArray[np.int64] | None = None
    """Class that the model predicts for each pixel, (H, W); None for other tasks."""


@dataclass(frozen=True)
class PerturbedSamples:
    """Perturbed samples of some cells, by the slot of the cell."""

    samples: Mapping[Slot, Mapping[int, PerturbedSample]]
    """Perturbed samples by sample id."""
    refused: Mapping[Slot, str]
    """Reasons why a cell has no perturbed samples."""
