"""Charts of the samples whose outcome differs between two versions of a table."""

from collections.abc import Iterable

from robustbench_wb.analysis.compare.comparison import CellDifference
from robustbench_wb.report.figures.chart import Chart, ChartAxis, ChartPoint, ChartSeries
from robustbench_wb.report.panel import PanelRows


def flip_charts(panel: PanelRows, pairs: Iterable[CellDifference]) -> list[Chart]:
    """One chart per model whose outcomes changed: lost samples to the left, gained samples to the right.

    Args:
        panel: rows of the newer table.
        pairs: differences between the tables; those of other panels, and of perplexities, are left out.
    """
    changed: dict[tuple[str, ...], list[CellDifference]] = {}
    for pair in pairs:
        if pair.new.panel == panel.rows[0].panel and pair.new.subject in panel.labels and (pair.lost or pair.gained):
            changed.setdefault(pair.new.subject, []).append(pair)
    return [_chart(panel.short_labels[model], changed[model]) for model in panel.labels if model in changed]


def _chart(label: str, pairs: list[CellDifference]) -> Chart:
    names = tuple(pair.new.cell for pair in pairs)
    most = max(max(pair.lost or 0, pair.gained or 0) for pair in pairs)
    series = [
        ChartSeries(number, what, tuple(
            ChartPoint(x=sign * (getattr(pair, what) or 0), y=at, text=f"{name}: {what} {getattr(pair, what)}")
            for at, (name, pair) in enumerate(zip(names, pairs, strict=True))
        ))
        for number, (what, sign) in enumerate((("gained", 1), ("lost", -1)), 1)
    ]  # fmt: skip
    return Chart(
        name=f"flips-{label}",
        title=label,
        x=ChartAxis(label="samples: lost (left), gained (right)", limits=(-1.1 * most, 1.1 * most)),
        y=ChartAxis(label="", names=names),
        series=series,
        kind="bars",
    )
