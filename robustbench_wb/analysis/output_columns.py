"""Columns that follow from the optional arrays of a record: mean IoU, calibration, detection, measures of texts."""

import sys
from math import exp, log
from typing import Final

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.records.record import Record, State
from robustbench_wb.records.score_row import OUTPUT_COLUMNS
from robustbench_wb.stats.auroc import auroc
from robustbench_wb.stats.calibration import brier_score, calibration_error
from robustbench_wb.stats.estimate import Estimate
from robustbench_wb.stats.intervals import mean_interval
from robustbench_wb.stats.pixel_counts import MeanIou, mean_iou, pixel_accuracy

Floats = NDArray[np.float64]
_LARGEST: Final = log(sys.float_info.max)


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
    if record.text_measures is not None:
        found |= _text_columns(record.text_measures[record.states == State.BROKEN].astype(np.float64))
    return found


def _named(name: str, found: MeanIou | Estimate) -> dict[str, float | None]:
    return {name: found.value, f"{name}_low": found.interval.low, f"{name}_high": found.interval.high}


def _text_columns(measures: Floats) -> dict[str, float | None]:
    """Columns of the measures of broken texts, (M, 2): mean cosine, and ratio of perplexities from the mean rise of the
    loss."""
    found: dict[str, float | None] = {}
    for name, values in zip(("text_similarity", "perplexity_ratio"), measures.T, strict=True):
        known = values[np.isfinite(values)]  # of samples that this evaluation broke, and not a lower strength
        if len(known):
            mean, (low, high) = mean_interval(known)
            shown = [_clipped(end) if name == "text_similarity" else _ratio(end) for end in (mean, low, high)]
            found |= zip((name, f"{name}_low", f"{name}_high"), shown, strict=True)
    return found


def _clipped(cosine: float) -> float:
    return min(max(cosine, -1.0), 1.0)


def _ratio(rise: float) -> float | None:
    """Ratio of two perplexities whose mean losses differ by ``rise`` nats; None if it is infinite."""
    return exp(rise) if rise < _LARGEST else None
