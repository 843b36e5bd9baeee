"""Changes of calibration, detection and mean IoU between the two records of a cell, by paired samples."""

from collections.abc import Mapping

import numpy as np

from robustbench_wb.analysis.compare.comparison import SCORES, CellDifference, Comparison, Score, ScoreChange
from robustbench_wb.records.record import Record, State
from robustbench_wb.stats.estimate import Estimate
from robustbench_wb.stats.paired_scores import Answers, Scores, auroc_change, brier_change, calibration_change
from robustbench_wb.stats.pixel_counts import mean_iou_change

_UNJUDGED = (State.ERRORED, State.NOT_RUN)


def with_score_changes(comparison: Comparison, records: Mapping[str, Record]) -> Comparison:
    """The comparison with the changes of the scores of each compared cell that has some on both sides.

    Args:
        comparison: comparison of two tables.
        records: records of both tables by key.
    """
    pairs = tuple(
        pair.model_copy(update={"changes": score_changes(records.get(pair.old.key), records.get(pair.new.key))})
        if _has_scores(pair)
        else pair
        for pair in comparison.pairs
    )
    return comparison.model_copy(update={"pairs": pairs})


def _has_scores(pair: CellDifference) -> bool:
    """Whether a cell was compared anew, and both rows have the same of the scores."""
    rows = (pair.old, pair.new)
    anew = pair.n is not None and not pair.is_same_record
    return anew and any(all(getattr(row, score) is not None for row in rows) for score in SCORES)


def score_changes(old: Record | None, new: Record | None) -> tuple[ScoreChange, ...]:
    """Changes of the scores that both records have, on the samples that both name.

    Empty if a record is missing, if no sample is in both, or if one of these was not judged on a side: a change without
    it would be that of easier samples.
    """
    if old is None or new is None:
        return ()
    ids, before, after = np.intersect1d(old.ids, new.ids, assume_unique=True, return_indices=True)
    if not len(ids):
        return ()
    return _changes(old.select(before), new.select(after))


def _changes(old: Record, new: Record) -> tuple[ScoreChange, ...]:
    if any(np.isin(record.states, _UNJUDGED).any() for record in (old, new)):
        return ()
    found: list[ScoreChange] = []
    if old.calibration is not None and new.calibration is not None:
        before, after = old.calibration.astype(np.float64), new.calibration.astype(np.float64)
        was, now = (Answers(one[:, 0], record.states == State.ROBUST) for one, record in ((before, old), (after, new)))
        found.append(_change("ece", calibration_change(was, now)))
        found.append(_change("brier", brier_change(before[:, 1], after[:, 1])))
    if old.max_logits is not None and new.max_logits is not None:
        largest = (old.max_logits.astype(np.float64), new.max_logits.astype(np.float64))
        one, other = (Scores(logits[:, 0], logits[:, 1]) for logits in largest)
        found.append(_change("auroc", auroc_change(one, other)))
    if old.pixels is not None and new.pixels is not None and old.pixels.shape == new.pixels.shape:
        moved = mean_iou_change(old.pixels, new.pixels)
        found.append(_change("miou", Estimate(moved.value, moved.interval)).model_copy(update={"p": moved.p}))
    return tuple(found)


def _change(score: Score, found: Estimate) -> ScoreChange:
    return ScoreChange(score=score, difference=found.value, low=found.interval.low, high=found.interval.high)
