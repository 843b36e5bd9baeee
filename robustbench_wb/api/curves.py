"""``curves``: accuracy against strength and length, and errors under common corruptions. Needs no torch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from robustbench_wb.analysis.curves.corruption_errors import CorruptionErrors, corruption_errors
from robustbench_wb.analysis.curves.distances import MINIMUM_NORM
from robustbench_wb.analysis.curves.length_curves import LengthCurve, length_curves
from robustbench_wb.analysis.curves.strength_curves import StrengthCurve, strength_curves
from robustbench_wb.errors import UsageError
from robustbench_wb.frames import names, to_frame
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.store.score_table import ScoreTable

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Curves:
    """Curves of one version of the score table."""

    version: int
    strengths: tuple[StrengthCurve, ...]
    lengths: tuple[LengthCurve, ...]
    errors: tuple[CorruptionErrors, ...]

    def to_pandas(self) -> "pd.DataFrame":
        """A data frame with one row per point of the curves against strength."""
        return to_frame(
            {**names(row), "value": value, "accuracy": row.accuracy, "low": row.low, "high": row.high}
            for curve in self.strengths
            for row, value in zip(curve.rows, curve.strengths, strict=True)
        )


def curves(
    version: str | int | None = None, results: str = "results", *, baseline: str | None = None, alexnet: bool = False
) -> Curves:
    """Sum up stored results: accuracy against strength and length, and errors under common corruptions.

    Args:
        version: like ``v3``; None is the latest.
        results: folder or Delta URL where results live.
        baseline: variant of the table whose errors normalise all corruption errors.
        alexnet: normalise by AlexNet's errors instead: mCE, for ImageNet-C only.

    Raises:
        StoreError: there is no such version.
        UsageError: the version has no accuracies at several strengths, no such baseline, or AlexNet is no reference.
    """
    table = ScoreTable(results)
    number = table.version(version)
    rows = table.rows(number)
    records = RecordStore(results).find([row.key for row in rows if row.key])
    found, lengths = strength_curves(rows, records), length_curves(rows, records)
    if not (found or lengths):
        raise UsageError(f"v{number} has no accuracies at several strengths, so there are no curves")
    errors = corruption_errors(rows, records, baseline=baseline, alexnet=alexnet)
    return Curves(version=number, strengths=tuple(found), lengths=tuple(lengths), errors=tuple(errors))


def distance_curves(version: str | int | None = None, results: str = "results") -> tuple[StrengthCurve, ...]:
    """Strength curves of the minimum-norm attacks of a version, with the distances that they found; empty without any.

    Args:
        version: like ``v3``; None is the latest.
        results: folder or Delta URL where results live.

    Raises:
        StoreError: there is no such version.
    """
    table = ScoreTable(results)
    rows = table.rows(table.version(version))
    chosen = [row for row in rows if row.stressor.startswith(MINIMUM_NORM)]
    if not chosen:
        return ()
    records = RecordStore(results).find([row.key for row in chosen if row.key])
    return tuple(curve for curve in strength_curves(rows, records) if curve.distances is not None)
