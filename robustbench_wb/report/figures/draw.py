"""Charts drawn by matplotlib in the style of a paper.

A figure is as wide as a column (3.35 inches), with embedded fonts. Its colours (Okabe & Ito 2008) differ for the
colour-blind, and its markers differ in grey. Importing this module imports matplotlib.
"""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from math import nan
from typing import TYPE_CHECKING, Any, Final, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from robustbench_wb.report.figures.chart import (
    COLUMN,
    Chart,
    ChartAxis,
    ChartKind,
    ChartPoint,
    ChartSeries,
    finite_ends,
)
from robustbench_wb.report.text_block import printable

if TYPE_CHECKING:  # older releases of matplotlib have no such name
    from matplotlib.typing import RcKeyType

PALETTE: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#4d4d4d", "#7b4fc9")
INK: Final = "#1b1b1b"
SOFT: Final = "#5a5a5a"
RULE: Final = "#dddddd"
MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X", "*", "h")
_STYLE: "Final[dict[RcKeyType, Any]]" = {
    "font.family": ["DejaVu Sans"],
    "font.size": 7.5,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.edgecolor": SOFT,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.6,
    "text.parse_math": False,  # names come from outside
    "pdf.fonttype": 42,  # TrueType, which publishers accept
    "svg.hashsalt": "robustbench_wb",  # equal charts give equal bytes
}
_LINE: Final = 0.125
"""Height of a line of labels, in inches."""
_LETTER: Final = 0.047
"""Width of a letter of a name, in inches."""
_BESIDE: Final = 24
"""Longest name, in letters, that is written beside its line; longer ones go into a legend below."""


class PaperFigure(Figure):
    """Figure that a notebook shows as SVG, and whose ``savefig`` embeds fonts and writes no date."""

    def _repr_svg_(self) -> str:
        return figure_bytes(self, "svg").decode()


def draw_chart(chart: Chart, *, width: float = COLUMN, title: bool = True, numbers: bool = False) -> PaperFigure:
    """Draw a chart.

    Args:
        chart: the chart.
        width: width of the figure in inches.
        title: whether to write the title above the axes; captions of papers have it instead.
        numbers: whether to write the numbers of the models beside their lines instead of their names.
    """
    shown = [one for one in chart.series if one.points]
    layout = _Layout.of(chart, shown, width=width, title=title, numbers=numbers)
    with paper_style():
        figure = PaperFigure(figsize=(width, layout.height))
        axes = figure.add_axes(layout.axes)
        for one in shown:
            _draw_series(axes, one, chart.kind)
        if len(chart.front) > 1:
            x, y = [point.x for point in chart.front], [point.y for point in chart.front]
            axes.plot(x, y, ":", color=SOFT, zorder=1.5, gid="front")
        _set_axis(axes, "x", chart.x, shown=shown)
        _set_axis(axes, "y", chart.y, shown=shown)
        if title:
            axes.set_title(printable(chart.title), loc="left")
        if layout.legend:
            columns = 1 + (width > COLUMN)
            figure.legend(loc="lower left", ncols=columns, frameon=False, borderpad=0.2, labelspacing=0.35)
        elif shown and not chart.y.names:
            _write_names(axes, shown, numbers, gap=_LINE / (layout.height * layout.axes[3]))
    return figure


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """Height of a figure in inches, and the place of its axes as shares of the figure."""

    height: float
    axes: tuple[float, float, float, float]
    legend: bool
    """Whether a legend below the axes names the models, because their names are too long for the ends of the lines."""

    @classmethod
    def of(cls, chart: Chart, shown: Sequence[ChartSeries], *, width: float, title: bool, numbers: bool) -> "_Layout":
        longest = max((len(printable(one.label)) for one in shown), default=0)
        legend = not numbers and not chart.y.names and longest > _BESIDE * width / COLUMN
        beside = 0.02 if legend or chart.y.names else 0.22 if numbers else 0.1 + _LETTER * longest
        left = 0.08 + _LETTER * max(map(len, chart.y.names)) if chart.y.names else 0.46
        below = 0.36 + 0.3 * _is_crowded(chart.x) + (_LINE * -(-len(shown) // (1 + (width > COLUMN))) if legend else 0)
        above = 0.2 if title else 0.06
        rows = len(chart.y.names) if chart.y.names else 0 if legend else len(shown)
        inside = max(0.46 * width if not chart.y.names else 0.3, _LINE * rows)
        height = below + inside + above
        share = (left / width, below / height, (width - left - max(beside, 0.08)) / width, inside / height)
        return cls(height=height, axes=share, legend=legend)


@contextmanager
def paper_style() -> Iterator[None]:
    """Style of all figures, for drawing and for writing; names with letters that the font lacks give no warning."""
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        yield


def figure_bytes(figure: Figure, kind: Literal["pdf", "svg"], *, text: bool = False) -> bytes:
    """File of a figure. Equal figures give equal bytes.

    Args:
        figure: the figure.
        kind: format of the file.
        text: whether an SVG has its texts as text, to be shown in the fonts of a page, instead of as outlines.
    """
    target = BytesIO()
    with paper_style(), mpl.rc_context({"svg.fonttype": "none" if text else "path"}):
        figure.savefig(target, format=kind, metadata={"Date": None} if kind == "svg" else {"CreationDate": None})
    return target.getvalue()


def _draw_series(axes: Axes, one: ChartSeries, kind: ChartKind) -> None:
    at = one.number - 1
    colour, marker = PALETTE[at % len(PALETTE)], MARKERS[at % len(MARKERS)]
    points = list(_with_gaps(one.points)) if kind == "lines" else list(one.points)
    x, y = [point.x for point in points], [point.y for point in points]
    if kind == "bars":
        axes.barh(y, x, color=colour, label=printable(one.label))
        return
    if kind == "lines":
        ends = [point.y_ends or (nan, nan) for point in points]
        low, high = ([_closed(end) for end in side] for side in zip(*ends, strict=True))
        axes.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0)
    else:
        for point in points:
            _draw_whiskers(axes, point, colour)
    line = "-" if kind == "lines" else "none"
    style = {"linestyle": line, "marker": marker, "color": colour, "markeredgewidth": 0, "clip_on": False}
    axes.plot(x, y, label=printable(one.label), gid=f"series-{one.number}", **style)  # type: ignore[arg-type]


def _closed(end: float) -> float:
    """End of an interval, finite for drawing."""
    return min(end, 1e300)


def _with_gaps(points: Sequence[ChartPoint]) -> Iterator[ChartPoint]:
    """Points, with a point without place between two that are more than one step apart."""
    for at, point in enumerate(points):
        if at and point.x - points[at - 1].x > 1:
            yield ChartPoint(x=nan, y=nan, text="")
        yield point


def _draw_whiskers(axes: Axes, point: ChartPoint, colour: str) -> None:
    if point.y_ends is not None:
        axes.plot([point.x] * 2, [_closed(end) for end in point.y_ends], "-", color=colour, linewidth=0.8)
    if point.x_ends is not None:
        axes.plot([_closed(end) for end in point.x_ends], [point.y] * 2, "-", color=colour, linewidth=0.8)


def _set_axis(axes: Axes, side: str, axis: ChartAxis, *, shown: Sequence[ChartSeries]) -> None:
    own = axes.xaxis if side == "x" else axes.yaxis
    own.set_label_text(printable(axis.label))
    limits = axis.limits
    if axis.names:
        own.set_ticks(range(len(axis.names)), [printable(name) for name in axis.names])
        limits = (-0.2, len(axis.names) - 0.95)
        if side == "y":
            limits = (len(axis.names) - 0.5, -0.5)
            axes.grid(visible=False, axis="y")
            axes.grid(visible=True, axis="x")
        elif _is_crowded(axis):
            axes.tick_params(axis="x", labelrotation=35)
            for label in axes.get_xticklabels():
                label.set(ha="right", rotation_mode="anchor")
    elif axis.log:
        axes.set(**{f"{side}scale": "log"})
        own.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=6))
        own.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
        own.set_minor_formatter(NullFormatter())
        limits = limits or _padded(_ends(shown, side), log=True)
    elif limits is None:
        limits = _padded(_ends(shown, side), log=False)
    axes.set(**{f"{side}lim": limits})


def _is_crowded(axis: ChartAxis) -> bool:
    """Whether the names of the categories would overlap."""
    return sum(len(name) + 2 for name in axis.names) > 44


def _ends(shown: Sequence[ChartSeries], side: str) -> list[float]:
    """All finite values and interval ends along one side."""
    found: list[float] = []
    for point in (point for one in shown for point in one.points):
        value, ends = (point.x, point.x_ends) if side == "x" else (point.y, point.y_ends)
        found += [value, *(ends or ())]
    return finite_ends(found) or [1.0]


def _padded(values: Iterable[float], *, log: bool) -> tuple[float, float]:
    low, high = min(values := list(values)), max(values)
    if log:
        factor = (high / low) ** 0.06 if high > low else 1.5
        return low / factor, high * factor
    room = 0.06 * (high - low) or abs(high) or 1.0
    return low - room, high + room


def _write_names(axes: Axes, shown: Sequence[ChartSeries], numbers: bool, *, gap: float) -> None:
    """Names beside the last points, moved apart, with a thin line where a name is far from its point."""
    to_axes = axes.transData + axes.transAxes.inverted()
    last = [one.points[-1] for one in shown]
    corners = [((point.x_ends or (0.0, point.x))[1], point.y) for point in last]
    places = [tuple(map(float, to_axes.transform(corner))) for corner in corners]
    order = sorted(range(len(places)), key=lambda at: (places[at][1], -at))  # of equal heights, the first is on top
    for at, height in zip(order, spread([places[at][1] for at in order], gap), strict=True):
        one, (x, y) = shown[at], places[at]
        colour = PALETTE[(one.number - 1) % len(PALETTE)]
        text = str(one.number) if numbers else printable(one.label)
        style = {"transform": axes.transAxes, "color": colour, "clip_on": False}
        axes.text(x + 0.035, height, text, va="center", fontsize=6.5, **style)  # type: ignore[arg-type]
        if abs(height - y) > 0.5 * gap:
            axes.plot([x + 0.008, x + 0.03], [y, height], "-", linewidth=0.4, **style)  # type: ignore[arg-type]


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """Heights of labels, moved apart inside 0 to 1; clusters stay centred on their points.

    Args:
        heights: wanted heights, ascending, at least one.
        gap: least distance; less if there are more labels than fit.
    """
    gap = min(gap, 1 / max(len(heights) - 1, 1))
    clusters: list[tuple[float, int]] = []
    for height in heights:
        centre, count = height, 1
        while clusters and clusters[-1][0] + gap * (clusters[-1][1] + count) / 2 > centre:
            before, others = clusters.pop()
            centre, count = (before * others + centre * count) / (others + count), others + count
        clusters.append((centre, count))
    found: list[float] = []
    for centre, count in clusters:
        found += [centre + gap * (at - (count - 1) / 2) for at in range(count)]
    floor, ceiling = 0.0, 1.0
    for at in range(len(found)):
        found[at] = max(found[at], floor)
        floor = found[at] + gap
    for at in reversed(range(len(found))):
        found[at] = min(found[at], ceiling)
        ceiling = found[at] - gap
    return found
