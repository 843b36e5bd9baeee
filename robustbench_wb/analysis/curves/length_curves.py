"""Accuracy as a function of input length: isotonic fit and effective length."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from robustbench_wb.analysis.curves.strength_curves import aligned_records, is_length_row
from robustbench_wb.records.record import Record, State
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.spec import Spec

DRAWS: Final = 1000
"""Number of bootstrap resamples of the test samples."""


class LengthCurve(Spec):
    """Accuracy of one model on inputs of several lengths."""

    rows: tuple[ScoreRow, ...]
    """Rows by ascending length; none failed."""
    fitted: tuple[float, ...]
    """Accuracies after isotonic regression: the least-squares fit that never rises with length."""
    threshold: float
    """Accuracy halfway between the fitted accuracy at the shortest length and chance, 1 / classes."""
    effective: float
    """Effective length: the longest length at which the fitted accuracy is at least the threshold, with linear
    interpolation in log length; at most the longest measured length."""
    low: float | None = None
    """Low end of the 95 % percentile bootstrap interval over test samples; None if a record is missing."""
    high: float | None = None
    """High end of the 95 % percentile bootstrap interval over test samples; None if a record is missing."""

    @property
    def open(self) -> bool:
        """Whether ``effective`` is only a lower bound, because the accuracy never falls below the threshold."""
        return self.effective >= float(self.rows[-1].strength)


def length_curves(rows: Iterable[ScoreRow], records: Mapping[str, Record]) -> list[LengthCurve]:
    """Length curve of every model and length stressor, in the order of their first rows.

    Models are left out if a row failed, if only one length was measured, or if they do not beat chance: the low end of
    the interval at the shortest length is not above 1 / classes.

    Args:
        rows: rows of any models and stressors.
        records: records by key; a missing record only costs the interval.
    """
    ladders: dict[tuple[object, ...], list[ScoreRow]] = {}
    for row in rows:
        if row.metric == "accuracy" and is_length_row(row):
            ladders.setdefault((row.panel, row.subject, row.stressor), []).append(row)
    found = []
    for members in ladders.values():
        rungs = sorted(members, key=lambda row: int(row.strength))
        able = rungs[0].classes and (rungs[0].low or 0) > 1 / rungs[0].classes
        if able and len(rungs) > 1 and all(row.status != "error" for row in rungs):
            found.append(_curve(rungs, records))
    return found


def effective_length(lengths: Sequence[int], accuracies: NDArray[np.float64], guess: float) -> float:
    """Longest length at which the accuracy keeps half of its first value's margin over chance.

    Args:
        lengths: (k,) ascending.
        accuracies: (k,) never rising.
        guess: accuracy of chance.

    Returns:
        The length, by linear interpolation in log length; at most the last one.
    """
    threshold = (accuracies[0] + guess) / 2
    below = np.flatnonzero(accuracies < threshold)
    if accuracies[0] <= guess:
        return float(lengths[0])
    if not len(below):
        return float(lengths[-1])
    end = int(below[0])
    (x0, x1), (y0, y1) = np.log(lengths[end - 1 : end + 1]), accuracies[end - 1 : end + 1]
    return float(np.exp(x0 + (x1 - x0) * (y0 - threshold) / (y0 - y1)))


def _curve(rows: Sequence[ScoreRow], records: Mapping[str, Record]) -> LengthCurve:
    lengths, guess = [int(row.strength) for row in rows], 1 / rows[0].classes
    fitted = _fit(np.array([row.accuracy for row in rows], np.float64))
    low, high = _interval(rows, records, lengths=lengths, guess=guess) or (None, None)
    return LengthCurve(
        rows=tuple(rows),
        fitted=tuple(fitted.tolist()),
        threshold=float(fitted[0] + guess) / 2,
        effective=effective_length(lengths, fitted, guess),
        low=low,
        high=high,
    )


def _fit(accuracies: NDArray[np.float64]) -> NDArray[np.float64]:
    """Isotonic regression (Barlow et al. 1972), (k,); weights are equal because all rows have equally many samples."""
    found: NDArray[np.float64] = isotonic_regression(accuracies, increasing=False).x
    return found


def _interval(
    rows: Sequence[ScoreRow], records: Mapping[str, Record], *, lengths: Sequence[int], guess: float
) -> tuple[float, float] | None:
    """Bootstrap interval of the effective length: each sample is drawn with its outcomes at all lengths."""
    found = aligned_records(rows, records)
    if found is None:
        return None
    right = np.stack([record.states == State.ROBUST for record in found], 1).astype(float)
    draw = np.random.RandomState(0)
    means = [right[draw.randint(len(right), size=len(right))].mean(0) for _ in range(DRAWS)]
    low, high = np.percentile([effective_length(lengths, _fit(mean), guess) for mean in means], [2.5, 97.5])
    return float(low), float(high)
