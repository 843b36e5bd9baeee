"""Changes of mean IoU, calibration and out-of-distribution detection between two tables, for information."""

from collections.abc import Sequence
from typing import Final

from robustbench_wb.analysis.compare.comparison import CellDifference, ScoreChange
from robustbench_wb.report.mean_iou import INTERVAL
from robustbench_wb.report.model_labels import model_labels
from robustbench_wb.report.output_scores import OUTPUT_SCORES, OutputScore
from robustbench_wb.report.text_block import Column, TextBlock

TITLE: Final = (
    "Other scores: old -> new, difference [95 % interval, paired by sample]; they have no part in the verdicts"
)
_MEAN_IOU: Final = OutputScore(column="miou", heading="mIoU", title="Mean IoU (%)", interval=INTERVAL)
_SCORES: Final = (_MEAN_IOU, *OUTPUT_SCORES)


def changed_outputs(pairs: Sequence[CellDifference]) -> list[TextBlock]:
    """Table of the cells that were measured anew and have such scores in both tables; none if there are no such cells.

    A score without a difference has missing samples on a side, or records without its outputs, as in baseline files;
    mean IoU has the p-value of its permutation test.
    """
    anew = [pair for pair in pairs if not pair.is_same_record and any(_has(pair, score) for score in _SCORES)]
    if not anew:
        return []
    shown = [score for score in _SCORES if any(_has(pair, score) for pair in anew)]
    labels = model_labels(pair.new for pair in anew)
    rows = tuple(
        (labels[pair.new.subject], pair.new.cell, *(_text(pair, score) if _has(pair, score) else "" for score in shown))
        for pair in anew
    )
    headings = (Column(score.unit_heading, "right") for score in shown)
    return [TextBlock(TITLE, columns=(Column("model"), Column("cell"), *headings), rows=rows)]


def _has(pair: CellDifference, score: OutputScore) -> bool:
    return all(getattr(row, score.column) is not None for row in (pair.old, pair.new))


def _text(pair: CellDifference, score: OutputScore) -> str:
    """Text like ``5.3 -> 6.1, 0.8 [0.2, 1.4]``; without a difference ``5.3 -> 6.1``."""
    old, new = (score.value_text(getattr(row, score.column)) for row in (pair.old, pair.new))
    change = next((one for one in pair.changes if one.score == score.column), None)
    return f"{old} -> {new}{_difference_text(change, score)}"


def _difference_text(change: ScoreChange | None, score: OutputScore) -> str:
    if change is None:
        return ""
    value, low, high = (score.value_text(one) for one in (change.difference, change.low, change.high))
    p = "" if change.p is None else f" p {change.p:.4f}"
    return f", {value} [{low}, {high}]{p}"
