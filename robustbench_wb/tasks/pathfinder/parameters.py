"""The numbers that a Pathfinder image is made by, and the published difficulties."""

import math
from typing import Self

from pydantic import model_validator

from robustbench_wb.errors import UsageError
from robustbench_wb.spec import Spec

_DISTRACTOR_PADDLES = 20
"""So many paddles, or a few fewer, are spent on distractors, whatever their length."""


class Parameters(Spec):
    """Geometry of an image; the defaults are those of Pathfinder32, hard. Lengths are in pixels.

    Raises:
        UsageError: a number is out of its range, or the markers do not fit between the seeds.
    """

    window: int = 32
    """Side of the image."""
    padding: int = 1
    """Width of the frame that stays empty."""
    paddle_length: float = 2.0
    thickness: float = 0.5
    margin: float = 1.0
    """From the end of a paddle to the beginning of the next."""
    antialias: int = 2
    """Drawing is done in black and white at this many times the resolution, then averaged."""
    continuity: float = 1.0
    """How straight the curves are: turns between paddles have a concentration of four times this number."""
    contour_length: int = 14
    """Paddles in each of the two long snakes."""
    distractor_length: int = 4
    """Paddles in each short one."""
    distractors: int = 5
    """How many short ones."""
    seed_distance: float = 7.0
    """Between the origins of the two long snakes."""
    marker_radius: float = 1.5
    snake_contrast: float = 2.0
    """What the share of a pixel that a paddle covers is multiplied by, up to a whole."""
    paddle_contrast: float = 0.75
    """Grey level of a pixel that is then wholly covered; below 1, the level of a marker."""

    @model_validator(mode="after")
    def _can_be_drawn(self) -> Self:
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if not (math.isfinite(value) and low <= value <= high):
                raise UsageError(f"pathfinder: {name} must be between {low:g} and {high:g}, not {value:g}")
        if self.thickness * self.antialias < 1 or self.paddle_length * self.antialias < 2:
            raise UsageError(
                f"pathfinder: paddles of {self.paddle_length:g} x {self.thickness:g} pixels are lost at "
                f"{self.antialias} times the resolution; take larger ones, or more antialias"
            )
        if self.seed_distance < 2 * self.marker_radius + self.gap + 1:
            raise UsageError(
                f"pathfinder: markers of radius {self.marker_radius:g} come within a gap of each other when seeds are "
                f"{self.seed_distance:g} pixels apart; take at least {2 * self.marker_radius + self.gap + 1:g}"
            )
        if 2 * self.padding + self.seed_distance + 2 * self.marker_radius > self.window:
            raise UsageError(f"pathfinder: two markers do not fit into a window of {self.window} pixels")
        return self

    @property
    def gap(self) -> int:
        """Paddles that follow one another have pixels at most this many rows and columns apart; no others have."""
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


def of_contour(length: int) -> Parameters:
    """Pathfinder32 with long snakes of ``length`` paddles and distractors of a third of it."""
    short = length // 3
    return Parameters(contour_length=length, distractor_length=short, distractors=_DISTRACTOR_PADDLES // short)


EASY, INTERMEDIATE, HARD = of_contour(6), of_contour(9), of_contour(14)

PATH_X = Parameters(
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
"""Sequences of 16,384 pixels, in the manner of Path-X: Pathfinder32 (hard) with every length doubled, twice the paddles
in a snake, and four times those of the distractors. Not the numbers of the published images."""
