"""Rows of one panel, with the labels, numbers and anchors that all parts of the page share."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf

from robustbench_wb.analysis.headline.headline import Headline, HeadlineNumber, HeadlinePanel, HeadlineRow
from robustbench_wb.analysis.row_order import CellKey, cell_key, rank_rows, split_panels
from robustbench_wb.records.names import Metric
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.report.model_labels import model_labels
from robustbench_wb.report.scores import cells_in_order, panel_title

ModelKey = tuple[str, ...]
"""Variant, size, recipe and seed, see ``ScoreRow.subject``."""


@dataclass(frozen=True)
class PlottedValue:
    """Accuracy in percent or perplexity, with its interval; an open end is infinite."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class PanelRows:
    """Rows of one panel of the page."""

    anchor: str
    """URL fragment of the panel."""
    rows: tuple[ScoreRow, ...]
    """Rows, best model first."""
    labels: Mapping[ModelKey, str]
    """Name of each model, best first."""
    anchors: Mapping[tuple[ModelKey, CellKey], str]
    """URL fragment of each row."""
    headlines: Sequence[HeadlinePanel] = ()
    """Headline numbers of the models, a panel for all models of the same cells."""

    @property
    def metric(self) -> Metric:
        """Metric of the panel: ``accuracy`` or ``perplexity``."""
        return self.rows[0].metric

    @property
    def title(self) -> str:
        """Title with task, scale, metric and suite."""
        return f"{panel_title(self.rows[0].panel)}, suite {self.rows[0].suite} v{self.rows[0].suite_version}"

    @cached_property
    def short_labels(self) -> dict[ModelKey, str]:
        """Name of each model without the size that all of them share, for figures."""
        return model_labels(self.rows, sized=False)

    @cached_property
    def numbers(self) -> dict[ModelKey, int]:
        """Rank of each model, from 1."""
        return {subject: number for number, subject in enumerate(self.labels, 1)}

    @cached_property
    def cells(self) -> list[CellKey]:
        """Cells of the panel, clean first, strengths ascending."""
        return cells_in_order(self.rows)

    @cached_property
    def ranked(self) -> dict[ModelKey, HeadlineRow]:
        """Rank and headline numbers of each model, best first."""
        return {row.subject: row for panel in self.headlines for row in panel.rows}

    @cached_property
    def headline_numbers(self) -> dict[tuple[ModelKey, str], HeadlineNumber]:
        """Headline number of each model by the name of its column."""
        return {
            (row.subject, column.name): number
            for panel in self.headlines
            for row in panel.rows
            for column, number in zip(panel.columns, row.numbers, strict=True)
        }

    @cached_property
    def by_cell(self) -> dict[tuple[ModelKey, CellKey], ScoreRow]:
        """Row of each model and cell."""
        return {(row.subject, cell_key(row)): row for row in self.rows}


def panel_rows(rows: Iterable[ScoreRow], headline: Headline | None = None) -> list[PanelRows]:
    """Panels of a table, in the order of their first rows; of several rows with one slot, the last is used.

    Args:
        rows: rows of a table.
        headline: headline numbers of these rows, which order the models; None orders them by their means.
    """
    ranked = rank_rows({(row.panel, row.slot): row for row in rows}.values())
    found, line = [], 0
    for number, own in enumerate(split_panels(ranked), 1):
        anchors = {(row.subject, cell_key(row)): f"r{line + at}" for at, row in enumerate(own, 1)}
        labels = model_labels(own)
        key, given = own[0].panel, () if headline is None else headline.panels
        headlines = [one for one in given if one.key == key and all(row.subject in labels for row in one.rows)]
        order = dict.fromkeys([*(row.subject for panel in headlines for row in panel.rows), *labels])
        found.append(
            PanelRows(
                anchor=f"panel-{number}",
                rows=tuple(own),
                labels={model: labels[model] for model in order},
                anchors=anchors,
                headlines=headlines,
            )
        )
        line += len(own)
    return found


def plotted_value(row: ScoreRow | None) -> PlottedValue | None:
    """Value of a row for a figure; None without a row, for a failed row, and if only a bound is known."""
    if row is None or row.status == "error":
        return None
    if row.accuracy is not None:
        return PlottedValue(100 * row.accuracy, 100 * (row.low or 0.0), 100 * (row.high or 0.0))
    if row.perplexity is None:
        return None
    high = row.perplexity_high
    return PlottedValue(row.perplexity, row.perplexity_low or 1.0, inf if high is None else high)
