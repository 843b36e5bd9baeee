"""Figures as data: positions of all marks in the SVG. The template draws the marks and escapes their texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from robustbench_wb.report.html.axes import Axis

WIDTH: Final = 330
HEIGHT: Final = 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 26, 10, 40
COLOURS: Final = 8
"""Number of colours; a ninth model has the first colour again, with another dash."""
DASHES: Final = 3
"""Number of dash patterns."""
_LETTER: Final = 5.5
"""Approximate width of a letter, in SVG units."""
_APART: Final = 10.0
"""Minimal distance between two labels, in SVG units."""


@dataclass(frozen=True, kw_only=True)
class FigurePoint:
    """Point of a figure, with its tooltip and intervals."""

    x: float
    y: float
    text: str
    """Tooltip."""
    x_ends: tuple[float, float] | None = None
    """Ends of the interval across."""
    y_ends: tuple[float, float] | None = None
    """Ends of the interval upward."""


@dataclass(frozen=True)
class Series:
    """Points of one model."""

    number: int
    """Number of the model, from 1, which gives its colour, dash pattern and label."""
    points: tuple[FigurePoint, ...]


@dataclass(frozen=True, kw_only=True)
class DrawnSeries:
    """Series in SVG units."""

    number: int
    style: str
    """Classes of the style sheet."""
    line: str
    """Path through the points; empty if they are not joined."""
    whiskers: str
    """Path of all intervals."""
    dots: tuple[tuple[str, str, str], ...]
    """x, y and tooltip of each point."""
    label: tuple[str, str]
    """Position of the number of the model."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """Figure as the template draws it."""

    title: str
    """Title, which is also the name for screen readers."""
    x_label: str
    y_label: str
    x_ticks: tuple[tuple[str, str], ...]
    y_ticks: tuple[tuple[str, str], ...]
    series: tuple[DrawnSeries, ...]
    front: str = ""
    """Path through the Pareto front; empty without one."""
    slanted: bool = False
    """Whether the tick labels are slanted, because they would overlap otherwise."""
    left: int = _LEFT
    right: int = WIDTH - _RIGHT
    top: int = _TOP
    bottom: int = HEIGHT - _BOTTOM
    width: int = WIDTH
    height: int = HEIGHT


def series_style(number: int) -> str:
    """Colour and dash pattern of the model with this number, as classes of the style sheet."""
    return f"c{(number - 1) % COLOURS} d{(number - 1) // COLOURS % DASHES}"


def draw_figure(
    title: str,
    x: Axis,
    y: Axis,
    *,
    series: Sequence[Series],
    joined: bool = False,
    front: Sequence[FigurePoint] = (),
) -> Figure:
    """Compute the positions of all marks of a figure.

    Args:
        title: title of the figure.
        x: horizontal axis.
        y: vertical axis.
        series: one series per model; series without points are left out.
        joined: whether to join the points of each series that are at most one step apart.
        front: points of the Pareto front, which are joined by a dotted line.
    """
    shown = [one for one in series if one.points]
    labels = _spread([(_x(x, one.points[-1].x), _y(y, one.points[-1].y)) for one in shown])
    drawn = tuple(
        DrawnSeries(
            number=one.number,
            style=series_style(one.number),
            line=_path(x, y, one.points, gaps=True) if joined and len(one.points) > 1 else "",
            whiskers="".join(_whiskers(x, y, point) for point in one.points),
            dots=tuple((_unit(_x(x, point.x)), _unit(_y(y, point.y)), point.text) for point in one.points),
            label=(_unit(label[0] + 5), _unit(label[1] + 3)),
        )
        for one, label in zip(shown, labels, strict=True)
    )
    return Figure(
        title=title,
        x_label=x.label,
        y_label=y.label,
        x_ticks=tuple((_unit(_x(x, value)), text) for value, text in x.ticks),
        y_ticks=tuple((_unit(_y(y, value)), text) for value, text in y.ticks),
        series=drawn,
        front=_path(x, y, front) if len(front) > 1 else "",
        slanted=sum(len(text) + 1 for _, text in x.ticks) * _LETTER > WIDTH - _LEFT - _RIGHT,
    )


def _x(axis: Axis, value: float) -> float:
    return _LEFT + axis.share(value) * (WIDTH - _LEFT - _RIGHT)


def _y(axis: Axis, value: float) -> float:
    return HEIGHT - _BOTTOM - axis.share(value) * (HEIGHT - _TOP - _BOTTOM)


def _unit(value: float) -> str:
    """Number with one decimal, which is left out if it is 0."""
    return f"{value:.1f}".removesuffix(".0")


def _path(x: Axis, y: Axis, points: Sequence[FigurePoint], gaps: bool = False) -> str:
    """Path of straight lines from point to point; with ``gaps``, not between points more than one step apart."""
    path = ""
    for at, point in enumerate(points):
        apart = not at or (gaps and point.x - points[at - 1].x > 1)
        path += f"{'M' if apart else 'L'}{_unit(_x(x, point.x))},{_unit(_y(y, point.y))}"
    return path


def _whiskers(x: Axis, y: Axis, point: FigurePoint) -> str:
    across, up = _unit(_x(x, point.x)), _unit(_y(y, point.y))
    path = ""
    if point.y_ends is not None:
        path += f"M{across},{_unit(_y(y, point.y_ends[0]))}V{_unit(_y(y, point.y_ends[1]))}"
    if point.x_ends is not None:
        path += f"M{_unit(_x(x, point.x_ends[0]))},{up}H{_unit(_x(x, point.x_ends[1]))}"
    return path


def _spread(places: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Positions of labels, moved apart vertically where they would overlap.

    The order of the labels stays. Labels stay inside the figure, and come closer if there is not enough space."""
    groups: list[list[int]] = []
    for at in sorted(range(len(places)), key=lambda at: (places[at][0], at)):
        if not groups or places[at][0] - places[groups[-1][0]][0] > 2 * _LETTER:
            groups.append([])
        groups[-1].append(at)
    found = list(places)
    for group in groups:
        order = sorted(group, key=lambda at: (places[at][1], at))
        heights = _apart([places[at][1] for at in order])
        for at, height in zip(order, heights, strict=True):
            found[at] = (places[at][0], height)
    return found


def _apart(heights: Sequence[float]) -> list[float]:
    """Ascending heights, moved apart and kept inside the figure."""
    top, bottom = float(_TOP), float(HEIGHT - _BOTTOM)
    gap = min(_APART, (bottom - top) / max(len(heights) - 1, 1))
    found: list[float] = []
    for height in heights:
        found.append(max(height, found[-1] + gap if found else top))
    for at in reversed(range(len(found))):
        found[at] = min(found[at], bottom - gap * (len(found) - 1 - at))
    return found
