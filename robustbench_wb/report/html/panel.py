"""The rows that stand in one table, with what every part of the page calls them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import inf

from robustbench_wb.analysis.row_order import rank_rows
from robustbench_wb.records.score_row import PanelKey, ScoreRow
from robustbench_wb.report.model_labels import model_labels
from robustbench_wb.report.scores import cells_in_order, panel_title

ModelKey = tuple[str, ...]
CellKey = tuple[str, str]
"""Stressor and strength."""


@dataclass(frozen=True)
class PlottedValue:
    """A value as it is shown, percent or perplexity, and its interval. An open end is infinite."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class PanelRows:
    """One panel of the page."""

    anchor: str
    """Fragment that links lead to."""
    rows: tuple[ScoreRow, ...]
    """The best subject first."""
    labels: Mapping[ModelKey, str]
    """Name of each subject, in that order."""
    anchors: Mapping[tuple[ModelKey, CellKey], str]
    """Fragment of each row's own line."""

    @property
    def metric(self) -> str:
        """``accuracy`` or ``perplexity``."""
        return self.rows[0].metric

    @property
    def title(self) -> str:
        """Task, scale and unit, with the suite."""
        return f"{panel_title(self.rows[0].panel)}, suite {self.rows[0].suite} v{self.rows[0].suite_version}"

    @cached_property
    def numbers(self) -> dict[ModelKey, int]:
        """Place of each subject, from 1."""
        return {subject: number for number, subject in enumerate(self.labels, 1)}

    @cached_property
    def cells(self) -> list[CellKey]:
        """Clean first, strengths ascending."""
        return cells_in_order(self.rows)

    @cached_property
    def found(self) -> dict[tuple[ModelKey, CellKey], ScoreRow]:
        """The row of a subject and cell."""
        return {(row.subject, (row.stressor, row.strength)): row for row in self.rows}


def panel_rows(rows: Iterable[ScoreRow]) -> list[PanelRows]:
    """The panels of a table, in the order of their first rows. Of two rows of one slot the last stands."""
    members: dict[PanelKey, list[ScoreRow]] = {}
    for row in rank_rows({(row.panel, row.slot): row for row in rows}.values()):
        members.setdefault(row.panel, []).append(row)
    found, line = [], 0
    for number, own in enumerate(members.values(), 1):
        anchors = {(row.subject, (row.stressor, row.strength)): f"r{line + at}" for at, row in enumerate(own, 1)}
        found.append(PanelRows(f"panel-{number}", tuple(own), model_labels(own), anchors))
        line += len(own)
    return found


def plotted_value(row: ScoreRow | None) -> PlottedValue | None:
    """What a figure shows of a row; None where there is none, it failed, or only a bound is known."""
    if row is None or row.status == "error":
        return None
    if row.accuracy is not None:
        return PlottedValue(100 * row.accuracy, 100 * (row.low or 0.0), 100 * (row.high or 0.0))
    if row.perplexity is None:
        return None
    high = row.perplexity_high
    return PlottedValue(row.perplexity, row.perplexity_low or 1.0, inf if high is None else high)
