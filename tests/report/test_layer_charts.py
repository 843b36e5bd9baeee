"""Layer figures and their table: numbers of the rows, with intervals from scipy."""

import numpy as np
import pytest
from scipy.stats import t

from robustbench_wb.report.figures.layer_charts import LayerCharts, layer_charts
from robustbench_wb.report.html.page import ReportContents, report_page
from robustbench_wb.report.panel import panel_rows
from tests.report.big_sample import big_table
from tests.report.layer_sample import LAYERS, looked, tables


def lines(part: LayerCharts, measure: str) -> list[tuple[str, ...]]:
    return [line[1:] for line in part.table.rows if line[0] == measure]


def numbers(text: str) -> list[float]:
    return [float(part.strip("[],")) for part in text.split()]


def test_layers_are_drawn_and_tabled_with_their_intervals() -> None:
    rows = big_table(2, 2)
    names = list(dict.fromkeys(row.variant for row in rows))
    pairs = {name: tables(at) for at, name in enumerate(names)}
    panel = panel_rows(looked(rows, pairs))[0]
    clean, drift = layer_charts(panel)
    assert [chart.title.split(":")[0] for chart in clean.charts] == ["sparsity", "entropy"]
    for place, subject in enumerate(panel.labels):
        pair = pairs[subject[0]]
        for layer in range(LAYERS):
            known = pair.clean.values["entropy"][layer]
            known = known[np.isfinite(known)]
            ends = t.interval(0.95, len(known) - 1, known.mean(), known.std(ddof=1) / len(known) ** 0.5)
            assert numbers(lines(clean, "entropy")[layer][1 + place]) == pytest.approx([known.mean(), *ends], rel=1e-3)
            moved = pair.drift["entropy"]
            ends = (moved.mean[layer], moved.low[layer], moved.high[layer])
            assert numbers(lines(drift, "entropy")[layer][1 + place]) == pytest.approx(ends, rel=1e-3)
    (undefined,) = {place for place, subject in enumerate(panel.labels) if subject[0] == names[1]}
    assert [line[1 + undefined] for line in lines(clean, "sparsity")] == [""] * LAYERS
    (sparsity,) = (chart for chart in clean.charts if chart.title.startswith("sparsity"))
    assert len(sparsity.series) == 1
    assert [len(one.points) for chart in drift.charts for one in chart.series] == [LAYERS] * 3


def test_drift_is_of_the_cell_in_which_the_subjects_are_worst() -> None:
    rows = big_table(2, 3)
    pairs = {row.variant: tables(0) for row in rows}
    panel = panel_rows(looked(rows, pairs))[0]
    means = {
        cell: np.mean([row.accuracy or 0 for row in rows if (row.stressor, row.strength) == cell])
        for cell in panel.cells
        if cell[0] != "clean"
    }
    worst = min(means, key=lambda cell: means[cell])
    assert f"under {worst[0]}@{worst[1]}:" in layer_charts(panel)[1].title


def test_a_page_shows_layers_where_there_are_any() -> None:
    rows = big_table(2, 1)
    assert layer_charts(panel_rows(rows)[0]) == []
    assert "Layer measures" not in report_page(ReportContents(name="v1", rows=rows))
    text = report_page(ReportContents(name="v1", rows=looked(rows, {row.variant: tables(0) for row in rows})))
    assert "Layer measures on clean inputs" in text
    assert text.count("Drift of layer measures under") >= 1
