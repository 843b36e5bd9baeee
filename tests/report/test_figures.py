"""Charts as data, and what matplotlib draws of them: values, tooltips, fonts, names that stay apart."""

import re
from itertools import pairwise
from typing import Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustbench_wb.analysis.headline.make_headline import make_headline
from robustbench_wb.errors import UsageError
from robustbench_wb.records.record import Record
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.report.figures.chart import COLUMN, Chart, ChartAxis, ChartKind, ChartPoint, ChartSeries
from robustbench_wb.report.figures.draw import MARKERS, PALETTE, draw_chart, spread
from robustbench_wb.report.figures.files import charts_by_name, figure_files, plot_chart
from robustbench_wb.report.figures.flip_charts import flip_charts
from robustbench_wb.report.figures.inline_svg import inline_svg
from robustbench_wb.report.figures.panel_charts import curve_charts
from robustbench_wb.report.figures.table_charts import PanelCharts, panel_charts
from robustbench_wb.report.panel import PanelRows, panel_rows
from robustbench_wb.stats.pareto import pareto_front
from tests.known import known
from tests.report.big_sample import big_table
from tests.report.sample import comparison, run, text_run

HOSTILE: Final = "a$b_{<script>alert(1)</script>}\x00 中文"


def ranked(rows: list[ScoreRow], records: dict[str, Record]) -> tuple[PanelRows, PanelCharts]:
    panel = panel_rows(rows, make_headline(rows, records))[0]
    return panel, panel_charts(panel)


def test_curves_hold_the_numbers_and_intervals_of_the_rows() -> None:
    rows = big_table(5, 2)
    panel = panel_rows(rows)[0]
    charts = curve_charts(panel)
    assert [chart.title for chart in charts] == ["attack-0", "attack-1"]
    for chart in charts:
        assert chart.x.names[:2] == ("clean", "1/255")
        for one in chart.series:
            own = [row for row in rows if panel.short_labels[row.subject] == one.label]
            wanted = [row for row in own if row.stressor in ("clean", chart.title)]
            assert [point.y for point in one.points] == [100 * known(row.accuracy) for row in wanted]
            assert [point.y_ends for point in one.points] == [
                (100 * known(row.low), 100 * known(row.high)) for row in wanted
            ]


def test_a_failed_cell_is_a_gap_and_perplexities_are_drawn_too() -> None:
    assert [len(one.points) for chart in curve_charts(panel_rows(run()[0])[0]) for one in chart.series] == [3, 3]
    texts = panel_rows(text_run()[0])[0]
    (swap,) = curve_charts(texts)
    assert {one.number: len(one.points) for one in swap.series} == {1: 3, 2: 2}
    drawn = draw_chart(swap).axes[0].get_lines()
    assert [int(np.isnan(np.asarray(line.get_ydata(), float)).sum()) for line in drawn[:2]] == [0, 1]
    assert panel_charts(texts).costs == []


def test_the_main_chart_has_the_joint_accuracy_that_ranks() -> None:
    panel, charts = ranked(*run())
    main = known(charts.main)
    assert main.title == "Robust accuracy by Linf radius"
    assert main.x.names == ("clean", "2/255", "8/255")
    column = panel.headlines[0].main_column.name
    assert [len(one.points) for one in main.series] == [2, 3]  # one number is graded F, and its model is last
    for one in main.series[1:]:
        (model,) = [model for model, label in panel.short_labels.items() if label == one.label]
        number = panel.headline_numbers[model, column]
        assert one.points[-1].y == 100 * known(number.value)
        assert column in one.points[-1].text
    assert [one.number for one in main.series] == [1, 2]  # the best model first


def test_without_several_radii_the_main_chart_is_a_ranking() -> None:
    rows = [row for row in run()[0] if row.strength in ("", "8/255")]
    main = known(ranked(rows, run()[1])[1].main)
    assert main.name == "ranking"
    assert main.y.names == ("vit", "crate")
    assert [point.y for one in main.series for point in one.points] == [0]  # the other number is graded F
    assert [label.get_text() for label in draw_chart(main).axes[0].get_yticklabels()] == list(main.y.names)


def test_costs_show_the_number_that_ranks_with_its_front() -> None:
    panel, charts = ranked(big_table(3, 1), {})
    costs = {chart.title: chart for chart in charts.costs}
    assert set(costs) == {"training time", "size", "attack passes"}
    y = [100 * known(panel.headlines[0].main_number(row).value) for row in panel.ranked.values()]
    assert [one.points[0].y for one in costs["size"].series] == y
    spent = [one.points[0].x for one in costs["training time"].series]
    front = [(spent[at], y[at]) for at in pareto_front(spent, y)]
    assert [(point.x, point.y) for point in costs["training time"].front] == front
    assert costs["attack passes"].front == []


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12))
def test_the_front_is_what_nothing_dominates(points: list[tuple[int, int]]) -> None:
    def dominated(cost: int, value: int) -> bool:
        return any(c <= cost and v >= value and (c, v) != (cost, value) for c, v in points)

    found = pareto_front([cost for cost, _ in points], [value for _, value in points])
    assert sorted(found) == [at for at, point in enumerate(points) if not dominated(*point)]
    assert [points[at][0] for at in found] == sorted(points[at][0] for at in found)


def test_flips_are_lost_to_the_left_and_gained_to_the_right() -> None:
    found = comparison()
    panel = panel_rows([pair.new for pair in found.pairs])[0]
    changed = {pair.new.subject for pair in found.pairs if pair.lost or pair.gained}
    charts = flip_charts(panel, found.pairs)
    assert [chart.title for chart in charts] == [
        panel.short_labels[model] for model in panel.labels if model in changed
    ]
    pair = next(one for one in found.pairs if one.lost and panel.short_labels[one.new.subject] == charts[0].title)
    gained, lost = charts[0].series
    at = charts[0].y.names.index(pair.new.cell)
    assert (lost.points[at].x, gained.points[at].x) == (-known(pair.lost), pair.gained)
    bars = [bar for group in draw_chart(charts[0]).axes[0].containers for bar in group]
    assert sorted(bar.get_width() for bar in bars) == sorted(
        point.x for one in charts[0].series for point in one.points
    )


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_names_neither_touch_nor_leave_the_axes(values: list[float]) -> None:
    wanted, gap = sorted(values), 0.05
    heights = spread(wanted, gap)
    room = min(gap, 1 / max(len(wanted) - 1, 1))
    assert all(-1e-9 <= height <= 1 + 1e-9 for height in heights)
    assert all(after - before >= room - 1e-9 for before, after in pairwise(heights))


def chart(labels: list[str]) -> Chart:
    series = [
        ChartSeries(at, label, (ChartPoint(x=0, y=90, text=f"{label}: 90", y_ends=(80, 95)),
                                ChartPoint(x=1, y=50 + at, text=label, y_ends=(40, float("inf")))))
        for at, label in enumerate(labels, 1)
    ]  # fmt: skip
    across = ChartAxis(label="radius", names=("clean", "8/255"))
    return Chart(name="A b/c", title="t", x=across, y=ChartAxis(label="accuracy (%)"), series=series, kind="lines")


def test_files_are_a_column_wide_with_embedded_fonts_and_the_same_every_time() -> None:
    drawn = chart(["vit", "a-name-that-is-too-long-to-stand-beside"])
    files = figure_files([drawn])
    assert list(charts_by_name([drawn, drawn])) == ["a-b-c", "a-b-c-2"]
    assert list(files) == ["a-b-c.pdf", "a-b-c.svg"]
    assert files == figure_files([drawn])
    box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ", files["a-b-c.pdf"])
    assert float(known(box)[1]) == pytest.approx(72 * COLUMN)
    assert b"/FontFile2" in files["a-b-c.pdf"]  # an embedded TrueType font
    assert b"/Type3" not in files["a-b-c.pdf"]
    assert b"<text" not in files["a-b-c.svg"]  # outlines need no font
    assert draw_chart(drawn).legends  # long names stand below


def test_points_are_joined_only_where_the_chart_has_lines() -> None:
    points = tuple(ChartPoint(x=at, y=at, text="") for at in (1.0, 2.0))
    expected: tuple[tuple[ChartKind, str], ...] = (("points", "None"), ("lines", "-"))
    for kind, line in expected:
        two = Chart(name="two", title="", x=ChartAxis(label="x"), y=ChartAxis(label="y"), kind=kind,
                    series=[ChartSeries(1, "vit", points)])  # fmt: skip
        assert [one.get_linestyle() for one in draw_chart(two).axes[0].get_lines()] == [line]


def test_models_differ_in_colour_and_marker() -> None:
    assert len(set(PALETTE)) == 8 < len(set(MARKERS)) == 9
    styles = {(PALETTE[at % 8], MARKERS[at % 9]) for at in range(72)}
    assert len(styles) == 72


def test_an_inline_figure_has_tooltips_and_no_styles_or_colours_of_its_own() -> None:
    text = inline_svg(chart(["vit", HOSTILE]), "f1")
    assert "<script" not in text
    assert "style=" not in text
    assert "url(" not in text
    assert not re.search("#[0-9a-f]{6}", text)
    assert {"var(--c0)", "var(--c1)", "var(--ink)"} <= set(re.findall(r"var\(--\w+\)", text))
    assert re.findall("<title>(.*?)</title>", text)[:2] == ["vit: 90", "vit"]
    assert text.count("<title>") == 4
    assert all(name.startswith("f1-") for name in re.findall(r' (?:id|href)="#?([^"]*)"', text))
    assert "a$b_{&lt;script&gt;" in text  # no formula, and no markup


def test_a_chart_is_plotted_by_name_and_shown_in_notebooks() -> None:
    charts = [chart(["vit"])]
    assert list(charts_by_name(charts)) == ["a-b-c"]
    assert plot_chart(charts, "a-b-c")._repr_svg_().startswith("<?xml")
    with pytest.raises(UsageError, match="'a-b' is unknown; did you mean"):
        plot_chart(charts, "a-b")
    with pytest.raises(UsageError, match="nothing to plot"):
        plot_chart([])


def test_rows_of_one_slot_are_one_row_of_the_page() -> None:
    rows = big_table(1, 1)
    later: ScoreRow = rows[0].model_copy(update={"key": "later"})
    (panel,) = panel_rows([*rows, later])
    assert len(panel.rows) == len(rows)
    assert [row.key for row in panel.rows if row.stressor == "clean"] == ["later"]
