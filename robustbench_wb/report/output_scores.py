"""Tables of scores that follow from outputs of the model: calibration and out-of-distribution detection."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from robustbench_wb.analysis.headline.headline import HeadlineNumber, HeadlinePanel
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.report.mean_iou import mean_iou_table
from robustbench_wb.report.number_table import number_table
from robustbench_wb.report.text_block import TextBlock


@dataclass(frozen=True, kw_only=True)
class OutputScore:
    """A score with three columns of ``ScoreRow``: its value and the ends of its interval."""

    column: str
    """Column of the value; those of the interval end in ``_low`` and ``_high``."""
    heading: str
    """Heading of cells without a strength."""
    title: str
    """Title of its tables, without the task."""
    interval: str
    """What the interval is."""
    percent: bool = True
    """Whether it is shown in percent."""

    @property
    def unit_heading(self) -> str:
        """Heading with its unit, like ``ECE %``."""
        return f"{self.heading} %" if self.percent else self.heading

    def row_text(self, row: ScoreRow) -> str:
        """Value of a row with its interval, like ``61.3 [59.0, 63.4]``; empty without a value."""
        value, low, high = (getattr(row, self.column + end) for end in ("", "_low", "_high"))
        return "" if value is None else f"{self._text(value)} [{self._text(low)}, {self._text(high)}]"

    def number_text(self, number: HeadlineNumber) -> str:
        """Mean value of a headline number; empty without one."""
        value = getattr(number, self.column)
        return "" if value is None else self._text(value)

    def _text(self, value: float) -> str:
        return f"{100 * value:.1f}" if self.percent else f"{value:.3f}"


OUTPUT_SCORES: Final = (
    OutputScore(
        column="ece",
        heading="ECE",
        title="Calibration error (%), lower is better",
        interval="[95 % bootstrap interval over samples]",
    ),
    OutputScore(
        column="brier",
        heading="Brier",
        title="Brier score (0 to 2), lower is better",
        interval="[95 % bootstrap interval over samples]",
        percent=False,
    ),
    OutputScore(
        column="auroc",
        heading="AUROC",
        title="Out-of-distribution detection, AUROC of the largest logit (%)",
        interval="[95 % interval over pairs]",
    ),
)
"""Scores that have tables, in order."""


def number_tables(panel: HeadlinePanel, *, every: bool, width: int | None) -> list[TextBlock]:
    """A table for each score that a headline number of the panel has, see ``number_table``."""
    return [
        number_table(panel, f"{score.title}, on {panel.task}", score.number_text, every=every, width=width)
        for score in OUTPUT_SCORES
        if any(score.number_text(number) for row in panel.rows for number in row.numbers)
    ]


def score_tables(panel: HeadlinePanel, *, every: bool, width: int | None) -> list[TextBlock]:
    """Tables of the other scores of a panel: mean IoU first, then those of ``number_tables``."""
    pixels = mean_iou_table(panel, every=every, width=width)
    return [*([] if pixels is None else [pixels]), *number_tables(panel, every=every, width=width)]


def detection_notes(rows: Iterable[ScoreRow | HeadlineNumber]) -> Sequence[str]:
    """What accuracy means under out-of-distribution images; none for other rows."""
    if all(row.auroc is None for row in rows):
        return []
    return ["accuracy under ood-*: share of samples whose largest logit is above that of an out-of-distribution image"]
