"""Columns that follow from the optional arrays of a record: mean IoU, calibration, out-of-distribution detection."""

import numpy as np

from robustbench_wb.records.record import Record, State
from robustbench_wb.records.score_row import OUTPUT_COLUMNS
from robustbench_wb.stats.auroc import auroc
from robustbench_wb.stats.calibration import brier_score, calibration_error
from robustbench_wb.stats.estimate import Estimate
from robustbench_wb.stats.pixel_counts import MeanIou, mean_iou, pixel_accuracy


def output_columns(record: Record | None) -> dict[str, float | None]:
    """Columns ``OUTPUT_COLUMNS``; None for what the record does not keep, or where a sample has no outputs.

    Args:
        record: record whose samples were all judged; None if there is none, or a sample is missing.
    """
    found: dict[str, float | None] = dict.fromkeys(OUTPUT_COLUMNS)
    if record is None:
        return found
    if record.pixels is not None:
        found |= _named("miou", mean_iou([record.pixels])) | {"pixel_accuracy": pixel_accuracy(record.pixels)}
    if record.calibration is not None and np.isfinite(record.calibration).all():
        confidences, scores = record.calibration.astype(np.float64).T
        found |= _named("ece", calibration_error(confidences, record.states == State.ROBUST))
        found |= _named("brier", brier_score(scores))
    if record.max_logits is not None and np.isfinite(record.max_logits).all():
        inside, outside = record.max_logits.astype(np.float64).T
        found |= _named("auroc", auroc(inside, outside))
    return found


def _named(name: str, found: MeanIou | Estimate) -> dict[str, float | None]:
    return {name: found.value, f"{name}_low": found.interval.low, f"{name}_high": found.interval.high}
