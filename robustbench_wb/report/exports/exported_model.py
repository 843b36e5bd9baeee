"""One model of a table with its headline numbers: what every export is made of."""

from collections.abc import Sequence
from dataclasses import dataclass

from robustbench_wb.analysis.headline.headline import HeadlineColumn, HeadlineNumber, HeadlinePanel, HeadlineRow
from robustbench_wb.records.score_row import ScoreRow


@dataclass(frozen=True, kw_only=True)
class ExportedPanel:
    """Headline numbers of the model under one suite, and its rows."""

    panel: HeadlinePanel
    row: HeadlineRow
    rows: Sequence[ScoreRow]

    @property
    def numbers(self) -> list[tuple[HeadlineColumn, HeadlineNumber]]:
        """Headline columns with a value."""
        pairs = zip(self.panel.columns, self.row.numbers, strict=True)
        return [(column, number) for column, number in pairs if number.value is not None]


@dataclass(frozen=True, kw_only=True)
class ExportedModel:
    """Model of a table."""

    name: str
    """Name like ``vit-nano``, with recipe and seed if they vary in the table."""
    panels: Sequence[ExportedPanel]
    table: str
    """Name of the table, like ``v3``."""
    version: int | None
    """Number of the version; None for a file."""
    time: str = ""
    """Time of the version (UTC, ISO 8601); empty for a file."""
    commit: str = ""
    """Git commit of the package during the run; empty if unknown."""


def percent(value: float) -> float:
    """Share in percent with two decimals, as leaderboards print it."""
    return round(100 * value, 2)


def metric_name(column: HeadlineColumn, panel: HeadlinePanel) -> str:
    """What a headline number says, like ``robust accuracy at Linf 8/255``."""
    if column.rule == "joint":
        return f"robust accuracy at {column.name}"
    return f"{column.name} {panel.metric}"
