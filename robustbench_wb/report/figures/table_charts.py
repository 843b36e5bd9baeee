"""All charts of one panel of a table."""

from collections.abc import Sequence
from dataclasses import dataclass

from robustbench_wb.analysis.compare.comparison import Comparison
from robustbench_wb.report.figures.chart import Chart
from robustbench_wb.report.figures.flip_charts import flip_charts
from robustbench_wb.report.figures.headline_charts import (
    clean_chart,
    main_chart,
    main_label,
    main_points,
    radius_charts,
)
from robustbench_wb.report.figures.layer_charts import LayerCharts, layer_charts
from robustbench_wb.report.figures.panel_charts import cost_charts, curve_charts
from robustbench_wb.report.panel import PanelRows


@dataclass(frozen=True, kw_only=True)
class PanelCharts:
    """Charts of one panel, by what they are about."""

    main: Chart | None
    """Numbers by which the models are ranked; None without headline numbers."""
    others: Sequence[Chart]
    """Other threat models, and robust against clean accuracy."""
    single: Sequence[Chart]
    """Single perturbations by strength."""
    costs: Sequence[Chart]
    flips: Sequence[Chart]
    layers: Sequence[LayerCharts]

    @property
    def every(self) -> list[Chart]:
        """All charts, the main one first."""
        layers = [chart for part in self.layers for chart in part.charts]
        first = [] if self.main is None else [self.main]
        return [*first, *self.others, *self.costs, *self.flips, *self.single, *layers]


def panel_charts(panel: PanelRows, comparison: Comparison | None = None) -> PanelCharts:
    """Charts of a panel.

    Args:
        panel: rows of the panel with their headline numbers.
        comparison: comparison with an earlier table, for the samples that changed.
    """
    main, clean = main_chart(panel), clean_chart(panel)
    others = [chart for chart in radius_charts(panel) if main is None or chart.name != main.name]
    accuracy = panel.metric == "accuracy"
    return PanelCharts(
        main=main,
        others=[*([] if clean is None else [clean]), *others],
        single=curve_charts(panel),
        costs=cost_charts(panel, main_points(panel), main_label(panel)) if accuracy else [],
        flips=[] if comparison is None else flip_charts(panel, comparison.pairs),
        layers=layer_charts(panel),
    )
