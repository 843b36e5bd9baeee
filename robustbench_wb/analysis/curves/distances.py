"""Distances that a minimum-norm attack found: quantiles, and the area under the curve of robust accuracy."""

from math import inf
from typing import Final

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.records.record import Record, State
from robustbench_wb.spec import Spec
from robustbench_wb.stressors.attacks.distances import DISTANCE

MINIMUM_NORM: Final = ("fmn-", "hopskipjump-")
"""Beginnings of the names of the minimum-norm attacks."""


class DistanceSummary(Spec):
    """Summary of the distances of all evaluated samples to their nearest known errors, in units of the radius.

    Samples that are wrong when clean have distance 0. Distances are upper bounds, like robust accuracies. A quantile
    is None where fewer samples have a known error.
    """

    samples: int
    """Number of evaluated samples."""
    found: int
    """Samples with a known error, those that are wrong when clean included."""
    tenth: float | None
    """Distance within which 10 % of the samples have an error."""
    median: float | None
    """Distance within which half of the samples have an error."""
    ninetieth: float | None
    """Distance within which 90 % of the samples have an error."""
    area: float
    """Area under the robust accuracy at all radii up to the largest, divided by that radius, in [0, 1]."""


def distance_summary(record: Record, radius: float) -> DistanceSummary | None:
    """Summarise the distances in a record of a minimum-norm attack; None for other records.

    Args:
        record: record at the largest radius.
        radius: that radius, above 0.
    """
    distances = sample_distances(record)
    if distances is None or not len(distances):
        return None
    ordered = np.sort(distances)
    return DistanceSummary(
        samples=len(ordered),
        found=int(np.isfinite(ordered).sum()),
        tenth=_quantile(ordered, 0.1),
        median=_quantile(ordered, 0.5),
        ninetieth=_quantile(ordered, 0.9),
        area=float(np.minimum(ordered, radius).mean() / radius),
    )


def sample_distances(record: Record) -> NDArray[np.float64] | None:
    """Distance of each sample to its nearest known error, float64 (N,); None for a record without distances.

    It is 0 for samples that are wrong when clean or could not be judged, and infinite where no error is known.
    """
    if not any(name.startswith(DISTANCE) for name in record.evidence):
        return None
    found = np.array([record.evidence.get(f"{DISTANCE}{number}", inf) for number in record.ids.tolist()])
    return np.where(np.isin(record.states, (State.ROBUST, State.BROKEN)), found, 0.0)


def _quantile(ordered: NDArray[np.float64], share: float) -> float | None:
    """Smallest distance that at least this share of the samples does not exceed; None if it is infinite."""
    value = float(np.quantile(ordered, share, method="inverted_cdf"))
    return value if np.isfinite(value) else None
