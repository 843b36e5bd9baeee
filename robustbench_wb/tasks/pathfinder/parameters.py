"""Geometry parameters of Pathfinder images, and the published difficulties."""

import math
from typing import Self

from pydantic import model_validator

from robustbench_wb.errors import UsageError
from robustbench_wb.spec import Spec

_DISTRACTOR_PADDLES = 20
"""Total number of paddles of all distractors, rounded down to whole distractors."""


class PathfinderParameters(Spec):
    """Geometry of an image; the defaults are those of Pathfinder32, hard. Lengths are in pixels.

    Raises:
        UsageError: a parameter is out of range, or the markers do not fit between the origins of the long snakes.
    """

    window: int = 32
    """Side of the image."""
    padding: int = 1
    """Width of the empty frame."""
    paddle_length: float = 2.0
    """Length of a paddle."""
    thickness: float = 0.5
    """Width of a paddle."""
    margin: float = 1.0
    """Distance from the end of a paddle to the beginning of the next."""
    antialias: int = 2
    """Factor of the resolution at which images are drawn in black and white before averaging."""
    continuity: float = 1.0
    """Straightness: the concentration of the von Mises distribution of turns is four times this number."""
    contour_length: int = 14
    """Number of paddles of each long snake."""
    distractor_length: int = 4
    """Number of paddles of each distractor."""
    distractors: int = 5
    """Number of distractors."""
    seed_distance: float = 7.0
    """Distance between the origins of the two long snakes."""
    marker_radius: float = 1.5
    """Radius of a marker."""
    snake_contrast: float = 2.0
    """Factor of the share of a pixel that a paddle covers; the product is limited to 1."""
    paddle_contrast: float = 0.75
    """Grey level of a fully covered pixel, below 1, which is the level of a marker."""

    @model_validator(mode="after")
    def _can_be_drawn(self) -> Self:
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if not (math.isfinite(value) and low <= value <= high):
                raise UsageError(f"pathfinder: {name} must be between {low:g} and {high:g}, not {value:g}")
        if self.thickness * self.antialias < 1 or self.paddle_length * self.antialias < 2:
            raise UsageError(
                f"pathfinder: paddles of {self.paddle_length:g} x {self.thickness:g} pixels are lost at "
                f"{self.antialias} times the resolution; use larger paddles or a larger antialias"
            )
        if self.seed_distance < 2 * self.marker_radius + self.gap + 1:
            raise UsageError(
                f"pathfinder: markers of radius {self.marker_radius:g} come within a gap of each other when seeds are "
                f"{self.seed_distance:g} pixels apart; use at least {2 * self.marker_radius + self.gap + 1:g}"
            )
        if 2 * self.padding + self.seed_distance + 2 * self.marker_radius > self.window:
            raise UsageError(f"pathfinder: two markers do not fit into a window of {self.window} pixels")
        return self

    @property
    def gap(self) -> int:
        """Largest distance in rows and columns between consecutive paddles; all other paddles are further apart."""
        return math.ceil(self.margin) + 1


_RANGES = (
    ("window", 8, 256),
    ("padding", 0, 64),
    ("paddle_length", 1, 32),
    ("thickness", 0.25, 8),
    ("margin", 0, 16),
    ("antialias", 1, 4),
    ("continuity", 0, 16),
    ("contour_length", 2, 256),
    ("distractor_length", 1, 256),
    ("distractors", 0, 256),
    ("seed_distance", 1, 128),
    ("marker_radius", 1, 16),
    ("snake_contrast", 0.25, 64),
    ("paddle_contrast", 0.25, 0.9),
)


def contour_parameters(length: int) -> PathfinderParameters:
    """Parameters of Pathfinder32 with long snakes of ``length`` paddles and distractors of a third of that."""
    short = length // 3
    return PathfinderParameters(
        contour_length=length, distractor_length=short, distractors=_DISTRACTOR_PADDLES // short
    )


EASY, INTERMEDIATE, HARD = contour_parameters(6), contour_parameters(9), contour_parameters(14)

PATH_X = PathfinderParameters(
    window=128,
    paddle_length=4.0,
    thickness=1.0,
    margin=2.0,
    contour_length=28,
    distractor_length=9,
    distractors=8,
    seed_distance=14.0,
    marker_radius=3.0,
)
"""Parameters in the manner of Path-X, with 16,384 pixels; they are not those of the published images.

Paddles, markers and distances are twice as large as in Pathfinder32 (hard). Long snakes have twice as many paddles, and
all distractors together about four times as many."""
