"""The page: every part of it handed to the template, which escapes all texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from robustbench_wb.analysis.compare.comparison import Comparison
from robustbench_wb.analysis.curves.corruption_errors import CorruptionErrors
from robustbench_wb.analysis.curves.length_curves import LengthCurve
from robustbench_wb.analysis.curves.strength_curves import StrengthCurve
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.report.comparison import comparison_blocks
from robustbench_wb.report.curves import curves_blocks
from robustbench_wb.report.details import details_blocks
from robustbench_wb.report.html.credibility_tables import credibility_blocks
from robustbench_wb.report.html.field_tables import OMITTED_FIELDS, field_tables
from robustbench_wb.report.html.gallery import Gallery
from robustbench_wb.report.html.layer_plots import layer_figures
from robustbench_wb.report.html.panel import PanelRows, panel_rows
from robustbench_wb.report.html.plots import cost_figures, curve_figures, scatter_figures
from robustbench_wb.report.html.score_matrix import score_matrix
from robustbench_wb.report.html.template import render
from robustbench_wb.report.lengths import lengths_blocks


@dataclass(frozen=True)
class ReportContents:
    """What a page is about."""

    name: str
    """Of the table, like ``v3`` or ``board.csv``."""
    rows: Sequence[ScoreRow]
    version: int | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Of the version, as JSON types; empty for a file."""
    curves: Sequence[StrengthCurve] = ()
    lengths: Sequence[LengthCurve] = ()
    errors: Sequence[CorruptionErrors] = ()
    comparison: Comparison | None = None
    """With an earlier table."""
    gallery: Sequence[Gallery] = ()


def report_page(contents: ReportContents) -> str:
    """The whole report as one HTML document, see :func:`robustbench_wb.report.html.template.render`."""
    found = panel_rows(contents.rows)
    return render(
        "page.html",
        contents=contents,
        panels=[_panel(own, contents.version) for own in found],
        curves=[
            *curves_blocks(contents.curves, contents.errors, contents.version),
            *lengths_blocks(contents.lengths, contents.version),
        ],
        trust=credibility_blocks(found),
        changes=[] if contents.comparison is None else comparison_blocks(contents.comparison),
        provenance=details_blocks(contents.name, contents.provenance) if contents.provenance else [],
        left_out=OMITTED_FIELDS,
    )


def _panel(own: PanelRows, version: int | None) -> dict[str, Any]:
    figures = (
        ("Number against strength", curve_figures(own)),
        ("Clean against stressed, at the strength where the subjects are furthest apart", scatter_figures(own)),
        ("What it costs", cost_figures(own)),
    )
    return {
        "anchor": own.anchor,
        "title": own.title,
        "matrix": score_matrix(own, version),
        "figures": [(title, shown) for title, shown in figures if shown],
        "layers": layer_figures(own),
        "numbers": field_tables(own),
    }
