"""Charts as data: what a figure shows, without how it is drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Final, Literal

COLUMN: Final = 3.35
"""Width of a column of a paper, in inches."""

ChartKind = Literal["points", "lines", "bars"]


@dataclass(frozen=True, kw_only=True)
class ChartPoint:
    """Point of a chart, with its description and intervals."""

    x: float
    y: float
    text: str
    """Description with the exact numbers, the tooltip on the page."""
    x_ends: tuple[float, float] | None = None
    """Ends of the horizontal interval."""
    y_ends: tuple[float, float] | None = None
    """Ends of the vertical interval; infinite ends are open."""


@dataclass(frozen=True)
class ChartSeries:
    """Points of one model."""

    number: int
    """Number of the model, from 1, which gives its colour and marker."""
    label: str
    """Name of the model."""
    points: tuple[ChartPoint, ...]


@dataclass(frozen=True, kw_only=True)
class ChartAxis:
    """Axis of a chart."""

    label: str
    """Label with the unit."""
    names: tuple[str, ...] = ()
    """Names of the categories at 0, 1, 2, ...; empty for an axis of numbers."""
    log: bool = False
    """Whether the axis is logarithmic."""
    limits: tuple[float, float] | None = None
    """Fixed ends; None fits the values."""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Chart of one or several models."""

    name: str
    """Short name, from which file names are made."""
    title: str
    x: ChartAxis
    y: ChartAxis
    series: Sequence[ChartSeries]
    kind: ChartKind = "points"
    """``points`` have bars for intervals. ``lines`` join the points of a series that are at most one step apart, with a
    band for the intervals. ``bars`` run from 0 to x, at y."""
    front: Sequence[ChartPoint] = ()
    """Points of the Pareto front, joined by a dotted line."""

    @property
    def description(self) -> str:
        """Title and axes in one line, for screen readers."""
        return f"{self.title}: {self.y.label} against {self.x.label}"


def finite_ends(values: Sequence[float]) -> list[float]:
    """Finite values among some ends."""
    return [value for value in values if isfinite(value)]
