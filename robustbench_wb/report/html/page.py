"""HTML report page: collects all parts for the template, which escapes all texts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import count
from typing import TYPE_CHECKING

from markupsafe import Markup

from robustbench_wb.analysis.compare.comparison import Comparison
from robustbench_wb.analysis.curves.corruption_errors import CorruptionErrors
from robustbench_wb.analysis.curves.length_curves import LengthCurve
from robustbench_wb.analysis.curves.strength_curves import StrengthCurve
from robustbench_wb.analysis.headline.headline import Headline
from robustbench_wb.analysis.headline.make_headline import make_headline
from robustbench_wb.frames import columns, to_frame
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.report.comparison import comparison_blocks
from robustbench_wb.report.comparison_screen import comparison_screen
from robustbench_wb.report.curves import curves_blocks
from robustbench_wb.report.details import details_blocks
from robustbench_wb.report.figures.chart import COLUMN, Chart
from robustbench_wb.report.figures.files import figure_files, plot_chart
from robustbench_wb.report.figures.table_charts import panel_charts
from robustbench_wb.report.html.credibility_tables import credibility_blocks, headline_doubts
from robustbench_wb.report.html.field_tables import OMITTED_FIELDS, FieldTable, field_tables
from robustbench_wb.report.html.gallery import Gallery
from robustbench_wb.report.html.headline_table import HeadlineTable, headline_tables
from robustbench_wb.report.html.notebook import notebook_html
from robustbench_wb.report.html.score_matrix import ScoreMatrix, score_matrix
from robustbench_wb.report.html.template import PageLink, render
from robustbench_wb.report.lengths import lengths_blocks
from robustbench_wb.report.output_scores import score_tables
from robustbench_wb.report.panel import PanelRows, panel_rows
from robustbench_wb.report.text_block import TextBlock

if TYPE_CHECKING:
    import pandas as pd

    from robustbench_wb.report.figures.draw import PaperFigure


@dataclass(frozen=True, kw_only=True)
class ReportContents:
    """Contents of a report page."""

    name: str
    """Name of the table, like ``v3`` or ``board.csv``."""
    rows: Sequence[ScoreRow]
    version: int | None = None
    """Number of the table version; None for a file."""
    provenance: Mapping[str, object] = field(default_factory=dict)
    """Provenance of the table version as JSON types; empty for a file."""
    curves: Sequence[StrengthCurve] = ()
    lengths: Sequence[LengthCurve] = ()
    errors: Sequence[CorruptionErrors] = ()
    comparison: Comparison | None = None
    """Comparison with an earlier table; None without one."""
    gallery: Sequence[Gallery] = ()
    headline: Headline | None = None
    """Headline numbers of the rows; None computes upper bounds from the rows alone."""

    @cached_property
    def panels(self) -> list[PanelRows]:
        """Rows of each panel, best model first."""
        return panel_rows(self.rows, self.headline or make_headline(self.rows, {}))

    def charts(self) -> list[Chart]:
        """All charts of the page, as data, see ``robustbench_wb.report.figures``."""
        return [chart for panel in self.panels for chart in panel_charts(panel, self.comparison).every]

    def figures(self) -> dict[str, bytes]:
        """Contents of a PDF and an SVG file of each chart, by file name, in the style of a paper."""
        return figure_files(self.charts())

    def plot(self, name: str | None = None) -> "PaperFigure":
        """One chart as a matplotlib figure.

        Args:
            name: name of the chart, which is that of its file in ``figures`` without the ending; None is the first.

        Raises:
            UsageError: there is no such chart.
        """
        return plot_chart(self.charts(), name)

    def to_pandas(self) -> "pd.DataFrame":
        """A data frame with one row per evaluation and the columns of the score table."""
        return to_frame(columns(row) for row in self.rows)

    def _repr_html_(self) -> str:
        """The first screen of each panel, for notebooks."""
        return notebook_html(self.panels)

    def html(self) -> str:
        """The whole report as one HTML document that loads nothing."""
        return report_page(self)


@dataclass(frozen=True)
class DrawnChart:
    """Chart as an SVG element with its caption."""

    caption: str
    svg: Markup


@dataclass(frozen=True, kw_only=True)
class PanelPart:
    """Parts of the page about one panel."""

    anchor: str
    title: str
    headlines: Sequence[HeadlineTable]
    scores: Sequence[TextBlock]
    """Other scores of the headline numbers: mean IoU, calibration, out-of-distribution detection."""
    main: DrawnChart | None
    """Chart of the first screen."""
    matrix: ScoreMatrix
    single: Sequence[DrawnChart]
    """Charts of single perturbations."""
    others: Sequence[DrawnChart]
    """Other charts of headline numbers."""
    costs: Sequence[DrawnChart]
    flips: Sequence[DrawnChart]
    layers: Sequence[tuple[str, Sequence[DrawnChart], TextBlock]]
    """Title, charts and numbers of layer measures."""
    numbers: Sequence[FieldTable]


def report_page(contents: ReportContents, links: Sequence[PageLink] = ()) -> str:
    """Self-contained HTML report, see ``robustbench_wb.report.html.template.render``."""
    found, counter = contents.panels, count(1)
    parts = [_panel(own, contents, counter) for own in found]
    return render(
        "page.html",
        links=links,
        contents=contents,
        panels=parts,
        curves=[
            *curves_blocks(contents.curves, contents.errors, contents.version),
            *lengths_blocks(contents.lengths, contents.version),
        ],
        doubts=headline_doubts(found),
        credibility=credibility_blocks(found),
        changes=[] if contents.comparison is None else _changes(contents.comparison),
        cells=[] if contents.comparison is None else comparison_blocks(contents.comparison),
        provenance=details_blocks(contents.name, contents.provenance) if contents.provenance else [],
        has_costs=any(own.costs for own in parts),
        has_layers=any(own.layers for own in parts),
        left_out=OMITTED_FIELDS,
    )


def _changes(comparison: Comparison) -> list[TextBlock]:
    """What changed; the page shows below what the terminal shows with ``--full``."""
    blocks = comparison_screen(comparison)
    return [
        replace(block, notes=tuple(note.replace("--full", "see below") for note in block.notes)) for block in blocks
    ]


def _panel(own: PanelRows, contents: ReportContents, counter: Iterator[int]) -> PanelPart:
    from robustbench_wb.report.figures.inline_svg import inline_svg  # imports matplotlib

    charts = panel_charts(own, contents.comparison)

    def drawn(chart: Chart, *, numbers: bool = True, width: float = COLUMN) -> DrawnChart:
        return DrawnChart(chart.title, inline_svg(chart, f"f{next(counter)}", numbers=numbers, width=width))

    return PanelPart(
        anchor=own.anchor,
        title=own.title,
        headlines=headline_tables(own),
        scores=[table for one in own.headlines for table in score_tables(one, every=True, width=None)],
        main=None if charts.main is None else drawn(charts.main, numbers=False, width=1.5 * COLUMN),
        matrix=score_matrix(own, contents.version),
        others=[drawn(chart, numbers=False) for chart in charts.others],
        single=[drawn(chart) for chart in charts.single],
        costs=[drawn(chart, numbers=False) for chart in charts.costs],
        flips=[drawn(chart) for chart in charts.flips],
        layers=[(part.title, [drawn(chart) for chart in part.charts], part.table) for part in charts.layers],
        numbers=field_tables(own),
    )
