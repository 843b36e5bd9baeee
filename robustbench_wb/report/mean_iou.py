"""Tables of mean IoU, beside those of the share of correct images."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from robustbench_wb.analysis.headline.headline import HeadlineNumber, HeadlinePanel
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.report.number_table import number_table
from robustbench_wb.report.text_block import TextBlock, wrapped

INTERVAL: Final = "[95 % bootstrap interval over images]"


def mean_iou_text(value: float | None, low: float | None, high: float | None) -> str:
    """Mean IoU in percent with its interval, like ``61.3 [59.0, 63.4]``; empty without a value."""
    if value is None:
        return ""
    interval = "" if low is None or high is None else f" [{100 * low:.1f}, {100 * high:.1f}]"
    return f"{100 * value:.1f}{interval}"


def number_mean_iou(number: HeadlineNumber) -> str:
    """Mean IoU of a headline number with its interval; empty for other tasks."""
    return mean_iou_text(number.miou, number.miou_low, number.miou_high)


def row_mean_iou(row: ScoreRow) -> str:
    """Mean IoU of a row with its interval; empty without one."""
    return mean_iou_text(row.miou, row.miou_low, row.miou_high)


def mean_iou_table(panel: HeadlinePanel, *, every: bool, width: int | None) -> TextBlock | None:
    """Mean IoU of the models of a panel, a line per model and a column per headline number; None for other tasks.

    Args:
        panel: panel to show.
        every: whether to show all headline columns, else those of the first screen.
        width: terminal columns to fit by dropping columns; None keeps all.
    """
    if not any(number.miou is not None for row in panel.rows for number in row.numbers):
        return None
    title = f"Mean IoU (%) on {panel.task} {INTERVAL}"
    return replace(number_table(panel, title, number_mean_iou, every=every, width=width), notes=_notes(panel))


def _notes(panel: HeadlinePanel) -> tuple[str, ...]:
    joint = any(column.rule == "joint" for column in panel.columns)
    notes = ["The accuracy above is the share of images whose own mean IoU is large enough: --full."]
    if joint:
        notes.append("Under attacks: each image with the attack that leaves its smallest IoU.")
    return wrapped(notes)


def least_iou_notes(rows: Iterable[ScoreRow]) -> Sequence[str]:
    """What accuracy means on a segmentation task; none for other tasks."""
    found = sorted({row.least_iou for row in rows if row.least_iou is not None})
    return [f"accuracy: share of images whose mean IoU over their own classes is at least {one:g}" for one in found]
