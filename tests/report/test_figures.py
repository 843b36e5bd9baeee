"""Positions of the marks of a figure, read back from the drawn paths."""

import re
from itertools import pairwise
from math import isclose, log10

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.report.html.axes import Axis, category_axis, linear_axis, logarithmic_axis
from robustbench_wb.report.html.figure import Figure, FigurePoint, Series, draw_figure
from robustbench_wb.report.html.panel import panel_rows
from robustbench_wb.report.html.plots import cost_figures, curve_figures, scatter_figures
from robustbench_wb.stats.pareto import pareto_front
from tests.report.big_sample import big_table
from tests.report.curve_sample import curve_run
from tests.report.sample import run, text_run

POSITIVE = st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=8)


@given(POSITIVE, st.booleans())
def test_an_axis_holds_its_values_and_keeps_their_order(values: list[float], log: bool) -> None:
    axis = logarithmic_axis("x", values) if log else linear_axis("x", values)
    shares = [axis.share(value) for value in sorted(values)]
    assert all(-1e-9 <= share <= 1 + 1e-9 for share in shares)
    assert shares == sorted(shares)
    assert axis.low <= min(values) * (1 + 1e-9)
    assert axis.high >= max(values) * (1 - 1e-9)
    assert 2 <= len(axis.ticks) <= 10
    assert all(axis.low <= value <= axis.high * (1 + 1e-9) for value, _ in axis.ticks)


@pytest.mark.parametrize(
    ("axis", "ticks"),
    [
        (linear_axis("", [0], low=0, high=100), "0 20 40 60 80 100"),
        (linear_axis("", [92.2, 99.4]), "92 94 96 98 100"),
        (linear_axis("", [5, 5]), "5 6"),
        (logarithmic_axis("", [20.1, 4000]), "100 1000"),
        (logarithmic_axis("", [3, 8]), "2 5 10"),
        (category_axis("", ["clean", "8/255"]), "clean 8/255"),
    ],
)
def test_ticks_are_round(axis: Axis, ticks: str) -> None:
    assert " ".join(text for _, text in axis.ticks) == ticks


def scale(ticks: tuple[tuple[str, str], ...], log: bool = False) -> tuple[float, float]:
    """Offset and width of a unit, read from the first and last tick."""
    (x0, first), (x1, last) = ticks[0], ticks[-1]
    v0, v1 = (log10(float(text)) if log else float(text) for text in (first, last))
    width = (float(x1) - float(x0)) / (v1 - v0)
    return float(x0) - v0 * width, width


def readings(figure: Figure, number: int) -> list[float]:
    """Values of a series, read back from the drawn points with the ticks of the axis."""
    offset, width = scale(figure.y_ticks)
    return [(float(y) - offset) / width for one in figure.series if one.number == number for _, y, _ in one.dots]


def test_a_curve_can_be_read_off_its_ticks() -> None:
    rows = big_table(5, 2)
    panel = panel_rows(rows)[0]
    figures = curve_figures(panel)
    assert [figure.title for figure in figures] == ["attack-0", "attack-1"]
    for figure in figures:
        for subject, number in panel.numbers.items():
            own = [row for row in rows if row.subject == subject and row.stressor in ("clean", figure.title)]
            assert readings(figure, number) == pytest.approx([100 * (row.accuracy or 0) for row in own], abs=0.05)


def test_whiskers_are_the_intervals() -> None:
    rows = big_table(1, 1)
    figure = curve_figures(panel_rows(rows)[0])[0]
    offset, width = scale(figure.y_ticks)
    ends = [float(text) for text in re.findall(r"M[^,]+,([\d.]+)V[\d.]+", figure.series[0].whiskers)]
    tops = [float(text) for text in re.findall(r"V([\d.]+)", figure.series[0].whiskers)]
    assert [(end - offset) / width for end in ends] == pytest.approx([100 * (r.low or 0) for r in rows], abs=0.05)
    assert [(top - offset) / width for top in tops] == pytest.approx([100 * (r.high or 0) for r in rows], abs=0.05)


def test_a_failed_cell_is_a_gap_and_perplexities_are_drawn_too() -> None:
    panel = panel_rows(run()[0])[0]
    assert [len(one.dots) for figure in curve_figures(panel) for one in figure.series] == [3, 3]
    texts = panel_rows(text_run()[0])[0]
    swap = curve_figures(texts)[0]
    assert swap.title == "swap"
    assert {one.number: len(one.dots) for one in swap.series} == {1: 3, 2: 2}
    assert {one.number: one.line.count("M") for one in swap.series} == {1: 1, 2: 2}  # no line across the gap
    assert cost_figures(texts) == []


def test_a_scatter_is_at_the_strength_where_subjects_differ_most() -> None:
    rows = curve_run()[0]
    panel = panel_rows(rows)[0]
    titles = [figure.title for figure in scatter_figures(panel)]
    assert "label-noise:pair@2/5" in titles  # 3 and 6 of 10 right, against 7 and 7 at 1/5
    figure = scatter_figures(panel)[titles.index("label-noise:pair@2/5")]
    offset, width = scale(figure.x_ticks)
    across = {one.number: (float(one.dots[0][0]) - offset) / width for one in figure.series}
    clean = {panel.numbers[row.subject]: 100 * (row.accuracy or 0) for row in rows if row.stressor == "clean"}
    assert across == pytest.approx(clean, abs=0.2)


def test_costs_are_means_over_all_cells_with_nothing_for_what_failed() -> None:
    rows = big_table(3, 1)
    rows[1] = rows[1].model_copy(update={"grade": "F"})
    figures = {figure.title: figure for figure in cost_figures(panel_rows(rows)[0])}
    assert set(figures) == {"training time", "size", "attack passes"}
    panel = panel_rows(rows)[0]
    for subject, number in panel.numbers.items():
        own = [row for row in rows if row.subject == subject]
        mean = sum(100 * (row.accuracy or 0) for row in own if row.grade != "F") / len(own)
        assert readings(figures["size"], number) == pytest.approx([mean], abs=0.05)
    best, middle, last = (one.dots[0] for one in sorted(figures["training time"].series, key=lambda one: one.number))
    # The F grade removes the cheapest model from the front; the most expensive one is worse than a cheaper one.
    assert [text.split(":")[0] for _, _, text in (best, middle, last)] == [f"variant-{at}-nano" for at in (1, 2, 0)]
    assert figures["training time"].front == f"M{last[0]},{last[1]}L{best[0]},{best[1]}"
    assert figures["attack passes"].front == ""


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12))
def test_the_front_is_what_nothing_dominates(points: list[tuple[int, int]]) -> None:
    def dominated(cost: int, value: int) -> bool:
        return any(c <= cost and v >= value and (c, v) != (cost, value) for c, v in points)

    found = pareto_front([cost for cost, _ in points], [value for _, value in points])
    assert sorted(found) == [at for at, point in enumerate(points) if not dominated(*point)]
    assert [points[at][0] for at in found] == sorted(points[at][0] for at in found)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=20))
def test_labels_neither_touch_nor_leave_the_figure(values: list[float]) -> None:
    series = [Series(number, (FigurePoint(x=0, y=value, text=""),)) for number, value in enumerate(values, 1)]
    figure = draw_figure("", category_axis("", ["a"]), linear_axis("", [0], low=0, high=100), series=series)
    heights = [float(one.label[1]) - 3 for one in figure.series]
    assert all(figure.top - 0.1 <= height <= figure.bottom + 0.1 for height in heights)
    ordered = sorted(heights)
    room = min(10.0, (figure.bottom - figure.top) / max(len(values) - 1, 1))
    assert all(after - before >= room - 0.11 for before, after in pairwise(ordered))
    down = sorted(range(len(values)), key=lambda at: (-values[at], at))
    drawn = [float(figure.series[at].dots[0][1]) for at in down]
    assert drawn == sorted(drawn)


def test_an_axis_stops_what_lies_beyond_it() -> None:
    axis = logarithmic_axis("", [2.0, 20.0])
    assert isclose(axis.share(float("inf")), 1)
    assert isclose(axis.share(0.1), 0)


def test_rows_of_one_slot_are_one_row_of_the_page() -> None:
    rows = big_table(1, 1)
    later: ScoreRow = rows[0].model_copy(update={"key": "later"})
    (panel,) = panel_rows([*rows, later])
    assert len(panel.rows) == len(rows)
    assert [row.key for row in panel.rows if row.stressor == "clean"] == ["later"]
