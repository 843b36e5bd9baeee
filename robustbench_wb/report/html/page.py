"""HTML report page: collects all parts for the template, which escapes all texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from robustbench_wb.analysis.compare.comparison import Comparison
from robustbench_wb.analysis.curves.corruption_errors import CorruptionErrors
from robustbench_wb.analysis.curves.length_curves import LengthCurve
from robustbench_wb.analysis.curves.strength_curves import StrengthCurve
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.report.comparison import comparison_blocks
from robustbench_wb.report.curves import curves_blocks
from robustbench_wb.report.details import details_blocks
from robustbench_wb.report.html.credibility_tables import credibility_blocks
from robustbench_wb.report.html.field_tables import OMITTED_FIELDS, FieldTable, field_tables
from robustbench_wb.report.html.figure import Figure
from robustbench_wb.report.html.gallery import Gallery
from robustbench_wb.report.html.layer_plots import LayerFigures, layer_figures
from robustbench_wb.report.html.panel import PanelRows, panel_rows
from robustbench_wb.report.html.plots import cost_figures, curve_figures, scatter_figures
from robustbench_wb.report.html.score_matrix import ScoreMatrix, score_matrix
from robustbench_wb.report.html.template import render
from robustbench_wb.report.lengths import lengths_blocks


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

    def html(self) -> str:
        """The whole report as one HTML document that loads nothing."""
        return report_page(self)


@dataclass(frozen=True, kw_only=True)
class PanelPart:
    """Parts of the page about one panel."""

    anchor: str
    title: str
    matrix: ScoreMatrix
    figures: Sequence[tuple[str, Sequence[Figure]]]
    """Titled groups of figures."""
    layers: Sequence[LayerFigures]
    numbers: Sequence[FieldTable]


def report_page(contents: ReportContents) -> str:
    """Self-contained HTML report, see ``robustbench_wb.report.html.template.render``."""
    found = panel_rows(contents.rows)
    return render(
        "page.html",
        contents=contents,
        panels=[_panel(own, contents.version) for own in found],
        curves=[
            *curves_blocks(contents.curves, contents.errors, contents.version),
            *lengths_blocks(contents.lengths, contents.version),
        ],
        credibility=credibility_blocks(found),
        changes=[] if contents.comparison is None else comparison_blocks(contents.comparison),
        provenance=details_blocks(contents.name, contents.provenance) if contents.provenance else [],
        left_out=OMITTED_FIELDS,
    )


def _panel(own: PanelRows, version: int | None) -> PanelPart:
    value = "Accuracy" if own.metric == "accuracy" else "Perplexity"
    figures = (
        (f"{value} against perturbation strength", curve_figures(own)),
        (f"{value} under perturbation against clean {own.metric}, at the strength that separates the models most",
         scatter_figures(own)),
        ("Cost", cost_figures(own)),
    )  # fmt: skip
    return PanelPart(
        anchor=own.anchor,
        title=own.title,
        matrix=score_matrix(own, version),
        figures=[(title, shown) for title, shown in figures if shown],
        layers=layer_figures(own),
        numbers=field_tables(own),
    )
