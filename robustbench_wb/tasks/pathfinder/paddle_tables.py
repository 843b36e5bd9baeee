"""Tables of all possible paddles: one for each direction and each position of its beginning within a pixel.

Snakes are chains of points on the fine grid, on which images are drawn before averaging. A paddle is centred on the
step from one point to the next. Steps are the integer vectors whose length, rounded, is that of a paddle and a margin.
All positions are therefore integers, and images are identical on every machine.
"""

import itertools
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.tasks.pathfinder.parameters import PathfinderParameters

Kind = Literal["first", "middle", "last"]
"""Kind of a paddle: room for a marker is kept around the beginning of the first and the end of the last paddle."""
KINDS: tuple[Kind, ...] = ("first", "middle", "last")
Ints = NDArray[np.int64]

_CONCENTRATION = 4.0
_WEIGHT = 1 << 16
"""Scale of the integer weights of steps. Sums of fractions could be rounded differently on other machines."""


def square(reach: int) -> Ints:
    """All (row, column) within ``reach`` of (0, 0) in raster order, ((2 reach + 1)**2, 2)."""
    return np.array(list(itertools.product(range(-reach, reach + 1), repeat=2)), np.int64)


def ring(radius: float) -> Ints:
    """Integer vectors (row, column) whose length differs from ``radius`` by less than 1/2, sorted by angle, (K, 2)."""
    reach = int(radius) + 1
    every = square(reach)
    kept = every[np.abs(np.hypot(every[:, 0], every[:, 1]) - radius) < 0.5]
    return kept[np.argsort(np.arctan2(kept[:, 0], kept[:, 1]), kind="stable")]


def disk(radius: float) -> Ints:
    """Fine cells (row, column) of a marker around (0, 0), (D, 2)."""
    every = square(int(radius))
    inside: Ints = every[(every**2).sum(1) <= radius**2]
    return inside


@dataclass(frozen=True)
class PaddleTables:
    """Tables of paddles for one set of parameters; K is the number of steps."""

    parameters: PathfinderParameters

    @cached_property
    def steps(self) -> Ints:
        """Steps (row, column) from a point to the next in fine cells, sorted by angle, (K, 2)."""
        return ring((self.parameters.paddle_length + self.parameters.margin) * self.parameters.antialias)

    @cached_property
    def turns(self) -> Ints:
        """Weight of each step (columns) after each step (rows), (K, K): von Mises, and 0 beyond a right angle."""
        unit = self.steps / np.hypot(self.steps[:, :1], self.steps[:, 1:])
        straightness = unit @ unit.T
        weights = _WEIGHT * np.exp(_CONCENTRATION * self.parameters.continuity * (straightness - 1))
        # Right angles are detected in integers, so that rounding cannot decide.
        weights[self.steps @ self.steps.T < 0] = 0
        whole: Ints = np.rint(weights).astype(np.int64)
        return whole

    @cached_property
    def paddles(self) -> list[Ints]:
        """Fine cells of the paddle of each step, relative to its beginning; K arrays (P, 2)."""
        return [self._paddle(step) for step in self.steps]

    @cached_property
    def cells(self) -> Ints:
        """Fine cells of all paddles as one array (K, P, 2); rows of small paddles repeat their first entry."""
        width = max(map(len, self.paddles))
        return np.array([np.concatenate([p, np.repeat(p[:1], width - len(p), axis=0)]) for p in self.paddles])

    @cached_property
    def marker(self) -> Ints:
        """Fine cells of a marker, relative to its centre."""
        return disk(self.parameters.marker_radius * self.parameters.antialias)

    def _paddle(self, step: Ints) -> Ints:
        length = np.hypot(*step)
        reach = int(np.abs(step).max() + self.parameters.thickness * self.parameters.antialias)
        cells = square(reach)
        along = (cells @ step - length**2 / 2) / length
        across = (cells @ np.array([-step[1], step[0]])) / length
        half_length, half_width = (
            size * self.parameters.antialias / 2 for size in (self.parameters.paddle_length, self.parameters.thickness)
        )
        # Half-open intervals give a paddle along the grid the exact number of cells.
        tie = 1e-9
        inside = (along >= -half_length - tie) & (along < half_length - tie)
        paddle: Ints = cells[inside & (across >= -half_width - tie) & (across < half_width - tie)]
        return paddle

    @cached_property
    def border(self) -> int:
        """Width of a border in pixels around the image that keeps all paddles of a snake within the array."""
        reach = int(np.abs(self.steps).max()) + int(np.abs(self.marker).max())
        return reach // self.parameters.antialias + self.parameters.gap + 2

    @cached_property
    def side(self) -> int:
        """Side of the image with border, in pixels."""
        return self.parameters.window + 2 * self.border

    @cached_property
    def ink(self) -> dict[Kind, Ints]:
        """Pixels that each paddle touches, as offsets in the flattened image with border, (antialias**2, P, K).

        The first axis is the position of the beginning within its pixel. Small paddles repeat their first pixel.
        """
        return {kind: np.ascontiguousarray(self._table(kind, spread=0).swapaxes(1, 2)) for kind in KINDS}

    @cached_property
    def shadow(self) -> dict[Kind, Ints]:
        """Pixels within a gap of each paddle, which must stay free of other ink, as offsets, (antialias**2, K, P)."""
        return {kind: self._table(kind, spread=self.parameters.gap) for kind in KINDS}

    def _table(self, kind: Kind, spread: int) -> Ints:
        scale = self.parameters.antialias
        around = square(spread)
        rows = []
        for place in itertools.product(range(scale), repeat=2):
            for step, paddle in zip(self.steps, self.paddles, strict=True):
                pixels = np.unique((self._cells(kind, step, paddle) + place) // scale, axis=0)
                pixels = np.unique((pixels[:, None] + around).reshape(-1, 2), axis=0)
                rows.append(pixels @ np.array([self.side, 1]))
        width = max(len(row) for row in rows)
        table = np.array([np.pad(row, (0, width - len(row)), constant_values=row[0]) for row in rows])
        return table.reshape(scale**2, len(self.steps), width)

    def _cells(self, kind: Kind, step: Ints, paddle: Ints) -> Ints:
        if kind == "middle":
            return paddle
        return np.concatenate([paddle, self.marker + (0 if kind == "first" else step)])


@lru_cache(maxsize=8)
def cached_paddle_tables(parameters: PathfinderParameters) -> PaddleTables:
    """Tables for ``parameters``, cached in the process."""
    return PaddleTables(parameters)
