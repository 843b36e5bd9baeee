"""Figures as numbers: where every mark of a plot stands in its SVG. The template draws them and escapes their texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from robustbench_wb.report.html.axes import Axis

WIDTH: Final = 330
HEIGHT: Final = 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 26, 10, 40
COLOURS: Final = 8
"""Colours there are; a ninth subject has the first one again, with another dash."""
DASHES: Final = 3
_LETTER: Final = 5.5
"""Width of a letter, in units of the SVG."""
_APART: Final = 10.0
"""Least distance of two labels, in units of the SVG."""


@dataclass(frozen=True)
class FigurePoint:
    """A value with the ends of its intervals, and what a pointer that rests on it is told."""

    x: float
    y: float
    text: str
    x_ends: tuple[float, float] | None = None
    y_ends: tuple[float, float] | None = None


@dataclass(frozen=True)
class Series:
    """The points of one subject."""

    number: int
    """That of the subject, from 1: its colour, its dash and what is written beside it."""
    points: tuple[FigurePoint, ...]

    @property
    def look(self) -> str:
        """Classes of the style sheet."""
        return series_style(self.number)


@dataclass(frozen=True)
class DrawnSeries:
    """A series in units of the SVG."""

    number: int
    series_style: str
    line: str
    """Path through the points; empty where they are not joined."""
    whiskers: str
    """Path of all intervals."""
    dots: tuple[tuple[str, str, str], ...]
    """x, y and text of each point."""
    label: tuple[str, str]
    """Where the number stands."""


@dataclass(frozen=True)
class Figure:
    """Everything that the template needs."""

    title: str
    """Also the name that a screen reader says."""
    x_label: str
    y_label: str
    x_ticks: tuple[tuple[str, str], ...]
    y_ticks: tuple[tuple[str, str], ...]
    series: tuple[DrawnSeries, ...]
    front: str = ""
    """Path through the points that none beats in both directions."""
    slanted: bool = False
    """Whether the names below the axis would run into each other if they stood upright."""
    left: int = _LEFT
    right: int = WIDTH - _RIGHT
    top: int = _TOP
    bottom: int = HEIGHT - _BOTTOM
    width: int = WIDTH
    height: int = HEIGHT


def series_style(number: int) -> str:
    """Colour and dash of the subject with this number, as classes of the style sheet."""
    return f"c{(number - 1) % COLOURS} d{(number - 1) // COLOURS % DASHES}"


def draw_figure(
    title: str, x: Axis, y: Axis, series: Sequence[Series], joined: bool = False, front: Sequence[FigurePoint] = ()
) -> Figure:
    """Place every mark.

    Args:
        title: what is shown.
        x: the axis across.
        y: the axis up.
        series: one per subject; those without a point are left out.
        joined: whether a line runs through the points of each, from one step across to the next.
        front: points that another line runs through.
    """
    shown = [one for one in series if one.points]
    labels = _spread([(_x(x, one.points[-1].x), _y(y, one.points[-1].y)) for one in shown])
    drawn = tuple(
        DrawnSeries(
            number=one.number,
            look=one.look,
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
    """One decimal, and none where it is 0."""
    return f"{value:.1f}".removesuffix(".0")


def _path(x: Axis, y: Axis, points: Sequence[FigurePoint], gaps: bool = False) -> str:
    """Straight lines from point to point; with ``gaps`` none between those that are more than one step apart."""
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
    """Where labels stand that belong at these places: of those side by side, each is pushed below the one above it, and
    up again where the last would leave the figure. Their order stays; where there is no room they come closer."""
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
    """Ascending heights inside the figure, pushed apart."""
    top, bottom = float(_TOP), float(HEIGHT - _BOTTOM)
    gap = min(_APART, (bottom - top) / max(len(heights) - 1, 1))
    found: list[float] = []
    for height in heights:
        found.append(max(height, found[-1] + gap if found else top))
    for at in reversed(range(len(found))):
        found[at] = min(found[at], bottom - gap * (len(found) - 1 - at))
    return found
