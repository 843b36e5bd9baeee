"""Tables of scores beside accuracy: calibration, out-of-distribution detection, and measures of perturbed texts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from robustbench_wb.analysis.headline.headline import HeadlineNumber, HeadlinePanel
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.report.mean_iou import mean_iou_table
from robustbench_wb.report.number_table import number_table
from robustbench_wb.report.text_block import TextBlock
from robustbench_wb.stressors.text_constraint import UNCONSTRAINED


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

    def row_text(self, row: object) -> str:
        """Value of a row with its interval, like ``61.3 [59.0, 63.4]``; empty without a value.

        Args:
            row: a ``ScoreRow``, or a row of ``evaluate``.
        """
        value, low, high = (getattr(row, self.column + end) for end in ("", "_low", "_high"))
        if value is None:
            return ""
        return f"{self.value_text(value)} [{self.value_text(low)}, {'inf' if high is None else self.value_text(high)}]"

    def number_text(self, number: HeadlineNumber) -> str:
        """Mean value of a headline number; empty without one."""
        value = getattr(number, self.column)
        return "" if value is None else self.value_text(value)

    def value_text(self, value: float) -> str:
        """A value in the unit of the score."""
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
    OutputScore(
        column="text_similarity",
        heading="cosine",
        title="Cosine similarity of the broken texts to the unperturbed ones",
        interval="[95 % t interval over samples]",
        percent=False,
    ),
    OutputScore(
        column="perplexity_ratio",
        heading="perplexity ratio",
        title="Perplexity of the broken texts as a multiple of that of the unperturbed ones",
        interval="[95 % t interval of the logarithm over samples]",
        percent=False,
    ),
)
"""Scores that have tables, in order."""
GAP_TITLE: Final = "Gap to random words of the same budget (points; 0: the attack finds no more than chance)"


def number_tables(panel: HeadlinePanel, *, every: bool, width: int | None) -> list[TextBlock]:
    """A table for each score that a headline number of the panel has, see ``number_table``; the gap of word attacks to
    their random controls comes first."""
    numbers = [number for row in panel.rows for number in row.numbers]
    gaps = [number_table(panel, f"{GAP_TITLE}, on {panel.task}", _gap_text, every=every, width=width)]
    return (gaps if any(_gap_text(number) for number in numbers) else []) + [
        number_table(panel, f"{score.title}, on {panel.task}", score.number_text, every=every, width=width)
        for score in OUTPUT_SCORES
        if any(score.number_text(number) for number in numbers)
    ]


def _gap_text(number: HeadlineNumber) -> str:
    """Gap with its interval in percentage points, like ``10.5 [5.2, 15.9]``; empty without one."""
    value, low, high = number.control_gap, number.control_gap_low, number.control_gap_high
    return (
        "" if value is None or low is None or high is None else f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
    )


def score_tables(panel: HeadlinePanel, *, every: bool, width: int | None) -> list[TextBlock]:
    """Tables of the other scores of a panel: mean IoU first, then those of ``number_tables``."""
    pixels = mean_iou_table(panel, every=every, width=width)
    return [*([] if pixels is None else [pixels]), *number_tables(panel, every=every, width=width)]


def constraint_notes(panel: HeadlinePanel) -> Iterable[str]:
    """What the word attacks of a panel keep of the meaning of a text; none for other attacks."""
    names: dict[str, list[str]] = {}
    for column in panel.columns:
        if column.constraint:
            names.setdefault(column.constraint, []).append(column.name.rpartition(" ")[0])
    for constraint, found in names.items():
        what = ": a new word may change what a text says" if constraint == UNCONSTRAINED else ""
        yield f"{', '.join(dict.fromkeys(found))}: {constraint}{what}."


def detection_notes(rows: Iterable[ScoreRow | HeadlineNumber]) -> Sequence[str]:
    """What accuracy means under out-of-distribution images; none for other rows."""
    if all(row.auroc is None for row in rows):
        return []
    return ["accuracy under ood-*: share of samples whose largest logit is above that of an out-of-distribution image"]
