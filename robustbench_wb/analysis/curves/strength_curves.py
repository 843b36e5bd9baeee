"""Accuracy as a function of strength: area under the curve, breakdown strength, and trigger success rates."""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.analysis.curves.distances import DistanceSummary, distance_summary
from robustbench_wb.analysis.row_order import strength_sort_key
from robustbench_wb.records.record import Record, State
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.spec import Spec
from robustbench_wb.stats.intervals import bootstrap_interval, wilson
from robustbench_wb.stressors.catalogue import STRESSORS

CLEAN = "clean"
"""Name of the stressor that leaves inputs unperturbed; its row is the point at strength 0."""

_TIE = 1e-9
"""Accuracies that differ by less are equal: accuracies are counts over samples, and the rest is rounding."""


class TriggerSuccess(Spec):
    """Success rate of a planted trigger at one strength."""

    strength: str
    share: float
    """Share of samples of other classes that the trigger turns into its target class."""
    low: float | None
    """Low end of the 95 % Wilson interval; None if the record is not in the store."""
    high: float | None
    """High end of the 95 % Wilson interval; None if the record is not in the store."""


class StrengthCurve(Spec):
    """Accuracy of one model under one perturbation, by strength."""

    rows: tuple[ScoreRow, ...]
    """Rows by ascending strength. The first is the clean row, unless the ladder itself has a strength 0."""
    strengths: tuple[float, ...]
    """Strength of each row."""
    area: float | None = None
    """Area under the accuracies divided by the largest strength, in [0, 1]: the mean accuracy under a uniform
    distribution of strengths. None if a row is missing or failed."""
    low: float | None = None
    """Low end of the 95 % percentile bootstrap interval of the area over test samples; None if a record is missing.
    Variation between trainings is not included."""
    high: float | None = None
    """High end of the 95 % percentile bootstrap interval over test samples; None if a record is missing."""
    threshold: float | None = None
    """Accuracy halfway between the clean accuracy and chance, 1 / classes. None if the number of classes is unknown, a
    row failed, or the clean accuracy does not exceed chance."""
    breakdown: float | None = None
    """Smallest strength at which the linearly interpolated accuracy falls to the threshold; None if it never does."""
    success: tuple[TriggerSuccess, ...] = ()
    """Success rates of a planted trigger; empty for other perturbations."""
    distances: DistanceSummary | None = None
    """Distances of the nearest errors that a minimum-norm attack found; None for other perturbations."""

    @property
    def stressor(self) -> str:
        """Name of the perturbation."""
        return self.rows[-1].stressor

    @property
    def failed(self) -> tuple[ScoreRow, ...]:
        """Rows without a number."""
        return tuple(row for row in self.rows if row.status == "error")


def strength_curves(rows: Iterable[ScoreRow], records: Mapping[str, Record]) -> list[StrengthCurve]:
    """Strength curve of every ladder of accuracies, in the order of their first rows.

    A ladder is the rows of one model under one perturbation in one panel, if the strengths are numbers. Missing samples
    count as wrong, as in every accuracy.

    Args:
        rows: rows of any models and perturbations.
        records: records by key; a missing record only costs the interval.
    """
    cleans: dict[tuple[object, ...], ScoreRow] = {}
    ladders: dict[tuple[object, ...], list[ScoreRow]] = {}
    for row in rows:
        if row.metric == "accuracy" and row.stressor == CLEAN:
            cleans[row.panel, row.subject] = row
        elif row.metric == "accuracy" and strength_sort_key(row.strength)[0] == 1 and not is_length_row(row):
            ladders.setdefault((row.panel, row.subject, row.stressor), []).append(row)
    found = []
    for (panel, subject, _), members in ladders.items():
        rungs, clean = sorted(members, key=lambda row: strength_sort_key(row.strength)), cleans.get((panel, subject))
        found.append(_curve(rungs if _value(rungs[0]) == 0 or clean is None else [clean, *rungs], records))
    return found


def is_length_row(row: ScoreRow) -> bool:
    """Whether the strength of a row is an input length, which need not lower accuracy (see ``length_curves``)."""
    name = row.signature.split(";")[0]
    return name in STRESSORS and STRESSORS.get(name).axis == "length"


def _curve(rows: Sequence[ScoreRow], records: Mapping[str, Record]) -> StrengthCurve:
    strengths = np.array([_value(row) for row in rows])
    last = records.get(rows[-1].key)
    curve = StrengthCurve(
        rows=tuple(rows),
        strengths=tuple(strengths.tolist()),
        success=_successes(rows, records),
        distances=None if last is None else distance_summary(last, strengths[-1]),
    )
    if strengths[0] > 0 or strengths[-1] == 0 or curve.failed:
        return curve
    accuracies = np.array([row.accuracy for row in rows], np.float64)
    weights = trapezoid_weights(strengths)
    correct = _correct(rows, records)
    ends = bootstrap_interval(correct @ weights) if correct is not None else None
    threshold = _threshold(rows[0])
    numbers = {
        "area": float(accuracies @ weights),
        "low": ends.low if ends else None,
        "high": ends.high if ends else None,
        "threshold": threshold,
        "breakdown": None if threshold is None else breakdown_strength(strengths, accuracies, threshold),
    }
    return curve.model_copy(update=numbers)


def trapezoid_weights(strengths: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights of the trapezoidal rule over the strengths, divided by the largest strength.

    Args:
        strengths: (k,) ascending, from 0 to a value above 0.

    Returns:
        (k,) weights that sum to 1.
    """
    steps = np.diff(strengths) / (2 * strengths[-1])
    weights: NDArray[np.float64] = np.append(steps, 0) + np.append(0, steps)
    return weights


def breakdown_strength(
    strengths: NDArray[np.float64], accuracies: NDArray[np.float64], threshold: float
) -> float | None:
    """Smallest strength at which the linearly interpolated accuracy falls to the threshold.

    Args:
        strengths: (k,) ascending.
        accuracies: (k,), the first above the threshold.
        threshold: accuracy of the breakdown.

    Returns:
        The strength; None if no accuracy is below the threshold.
    """
    below = np.flatnonzero(accuracies < threshold - _TIE)
    if not len(below):
        return None
    end = int(below[0])
    (x0, x1), (y0, y1) = strengths[end - 1 : end + 1], accuracies[end - 1 : end + 1]
    return float(x0 + (x1 - x0) * max(0.0, y0 - threshold) / (y0 - y1))


def aligned_records(rows: Iterable[ScoreRow], records: Mapping[str, Record]) -> list[Record] | None:
    """Records of the rows; None unless all are present and hold the same samples."""
    found = [records[row.key] for row in rows if row.key in records]
    whole = len(found) == len(list(rows)) and all(np.array_equal(record.ids, found[0].ids) for record in found)
    return found if whole and len(found[0].ids) else None


def _correct(rows: Sequence[ScoreRow], records: Mapping[str, Record]) -> NDArray[np.float64] | None:
    """Whether each sample is robust in each row, (n, rows) of 0 and 1; None without aligned records."""
    found = aligned_records(rows, records)
    return None if found is None else np.stack([record.states == State.ROBUST for record in found], 1).astype(float)


def _value(row: ScoreRow) -> float:
    return float(Fraction(row.strength or 0))


def _threshold(clean: ScoreRow) -> float | None:
    guess = 1 / clean.classes if clean.classes else None
    accuracy = clean.accuracy or 0.0
    return None if guess is None or accuracy <= guess else (accuracy + guess) / 2


def _successes(rows: Sequence[ScoreRow], records: Mapping[str, Record]) -> tuple[TriggerSuccess, ...]:
    found = []
    for row in rows:
        if row.obeyed is None:
            continue
        record = records.get(row.key)
        ends = wilson(int(record.evidence["hit"]), int(record.evidence["aimed"])) if record is not None else None
        low, high = ends or (None, None)
        found.append(TriggerSuccess(strength=row.strength, share=row.obeyed, low=low, high=high))
    return tuple(found)
