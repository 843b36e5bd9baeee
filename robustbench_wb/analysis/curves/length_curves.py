"""Accuracy against length: a curve that never rises, and how long inputs may be before half of the skill is lost."""

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
"""Bootstrap draws of the samples."""


class LengthCurve(Spec):
    """One subject on inputs of several lengths."""

    rows: tuple[ScoreRow, ...]
    """Ascending; none failed."""
    fitted: tuple[float, ...]
    """Accuracies after isotonic regression: the closest ones, in least squares, that never rise with length."""
    threshold: float
    """Halfway between the fitted accuracy at the shortest length and that of guessing, 1 / classes."""
    effective: float
    """Longest length at which the fitted accuracy is at the threshold still, straight lines in log length between; at
    most the longest one measured."""
    low: float | None = None
    high: float | None = None
    """Ends of its 95 % percentile bootstrap interval over test samples; None where a record is lacking."""

    @property
    def open(self) -> bool:
        """Whether it is at least that long: the accuracy never comes down to the threshold."""
        return self.effective >= float(self.rows[-1].strength)


def length_curves(rows: Iterable[ScoreRow], records: Mapping[str, Record]) -> list[LengthCurve]:
    """A curve for every subject and stressor of length, in the order of their first rows.

    Left out are ladders with a failed row or of one length alone, and those that are nowhere better than guessing: the
    low end of the interval at the shortest length is not above 1 / classes.
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
    """Longest length at which an accuracy keeps half of what the first one is above guessing.

    Args:
        lengths: (k,) ascending.
        accuracies: (k,) never rising.
        guess: accuracy of guessing.
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
    low, high = _interval(rows, records, lengths, guess) or (None, None)
    return LengthCurve(
        rows=tuple(rows),
        fitted=tuple(fitted.tolist()),
        threshold=float(fitted[0] + guess) / 2,
        effective=effective_length(lengths, fitted, guess),
        low=low,
        high=high,
    )


def _fit(accuracies: NDArray[np.float64]) -> NDArray[np.float64]:
    """Isotonic regression (Barlow et al. 1972); all rows have as many samples, so their weights are equal."""
    found: NDArray[np.float64] = isotonic_regression(accuracies, increasing=False).x
    return found


def _interval(
    rows: Sequence[ScoreRow], records: Mapping[str, Record], lengths: Sequence[int], guess: float
) -> tuple[float, float] | None:
    """Samples are drawn whole, with what became of them at every length."""
    found = aligned_records(rows, records)
    if found is None:
        return None
    right = np.stack([record.states == State.ROBUST for record in found], 1).astype(float)
    draw = np.random.RandomState(0)
    means = [right[draw.randint(len(right), size=len(right))].mean(0) for _ in range(DRAWS)]
    low, high = np.percentile([effective_length(lengths, _fit(mean), guess) for mean in means], [2.5, 97.5])
    return float(low), float(high)
