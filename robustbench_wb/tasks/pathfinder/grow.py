"""Placement of snakes in many images at once: a snake grows paddle by paddle where no other ink is within a gap.

Every paddle has a shadow: the pixels within a gap of its own. Only the next paddle of the same snake may be drawn
there. Pixels at most a gap apart therefore belong to one snake, and the image alone determines the label.
"""

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.streams import RandomStream
from robustbench_wb.tasks.pathfinder.paddle_tables import Ints, Kind, PaddleTables, ring

_ORIGINS = 8
"""Number of origins that are tried for a distractor before its image is given up."""
# Flags of the snakes that may not draw on a pixel: all, long snake 0, long snake 1, the snake growing now.
_ALL, _LONG, _OWN = 1, (2, 4), 8


class BlockedPixels:
    """Blocked pixels of N images: flags of the snakes that may not draw there, uint8 (N, pixels with border)."""

    def __init__(self, stamps: PaddleTables, blocked: NDArray[np.uint8]) -> None:
        self.stamps, self.blocked = stamps, blocked

    @classmethod
    def empty(cls, stamps: PaddleTables, count: int) -> "BlockedPixels":
        """Make ``count`` empty images whose frame is blocked for all snakes."""
        inside = stamps.border + stamps.parameters.padding
        frame = np.full((stamps.side, stamps.side), 255, np.uint8)
        frame[inside:-inside, inside:-inside] = 0
        return cls(stamps, np.tile(frame.reshape(1, -1), (count, 1)))

    def place(self, points: Ints) -> tuple[Ints, Ints]:
        """Position of fine points (n, 2) in their pixel, and index of the pixel in the bordered image, both (n,)."""
        scale = self.stamps.parameters.antialias
        pixel, place = points // scale, points % scale
        return place @ np.array([scale, 1]), (pixel + self.stamps.border) @ np.array([self.stamps.side, 1])

    def choose(self, rows: Ints, points: Ints, weights: Ints | None, kind: Kind, who: int, words: RandomStream) -> Ints:
        """Draw the next step of a snake in the images ``rows``: its number, or -1 without room, (n,).

        Args:
            rows: numbers of the images, (n,).
            points: current ends of the snakes, (n, 2).
            weights: weights of the steps, (n, K); None: equal weights.
            kind: kind of the next paddle.
            who: flags that block a pixel.
            words: random stream.
        """
        place, pixel = self.place(points)
        ink = self.stamps.ink[kind][place] + (pixel + rows * self.stamps.side**2)[:, None, None]
        free = np.bitwise_or.reduce(self.blocked.ravel()[ink], axis=1) & who == 0
        sums = (free.astype(np.int64) if weights is None else free * weights).cumsum(1)
        drawn = words.integers(sums[:, -1], len(sums))
        return np.where(sums[:, -1] > 0, (sums <= drawn[:, None]).sum(1), -1)

    def shade(self, rows: Ints, points: Ints, steps: Ints, kind: Kind, who: int) -> None:
        """Block the pixels within a gap of these paddles for the snakes in ``who``."""
        place, pixel = self.place(points)
        shadow = self.stamps.shadow[kind][place, steps] + (pixel + rows * self.stamps.side**2)[:, None]
        self.blocked.ravel()[shadow] |= np.uint8(who)


class _Growth:
    """Growing snake in each of some images. Its own shadow comes one paddle late, because the next paddle is near."""

    def __init__(
        self,
        field: BlockedPixels,
        words: RandomStream,
        rows: Ints,
        origins: Ints,
        length: int,
        who: tuple[int, int] | None,
    ) -> None:
        count = len(field.blocked)
        self.field, self.words, self.length, self.long = field, words, length, who is not None
        self.own, self.others = who or (_OWN, 0)
        self.points = np.zeros((count, length + 1, 2), np.int64)
        self.points[rows, 0] = origins
        self.chosen = np.zeros((count, length), np.int64)

    def extend(self, rows: Ints, number: int) -> Ints:
        """Add paddle ``number`` in the images ``rows``, and return those with room for it."""
        stamps, kind = self.field.stamps, self._kind(number)
        weights = stamps.turns[self.chosen[rows, number - 1]] if number else None
        step = self.field.choose(
            rows, points=self.points[rows, number], weights=weights, kind=kind, who=self.own | _ALL, words=self.words
        )
        rows, step = rows[step >= 0], step[step >= 0]
        self.chosen[rows, number] = step
        self.points[rows, number + 1] = self.points[rows, number] + stamps.steps[step]
        if self.others:
            self.shade(rows, number, self.others)
        if number:
            self.shade(rows, number - 1, self.own)
        return rows

    def shade(self, rows: Ints, number: int, who: int) -> None:
        """Block the shadow of paddle ``number`` for the snakes in ``who``."""
        self.field.shade(
            rows, points=self.points[rows, number], steps=self.chosen[rows, number], kind=self._kind(number), who=who
        )

    def _kind(self, number: int) -> Kind:
        if not self.long or 0 < number < self.length - 1:
            return "middle"
        return "last" if number else "first"


def grow_long(field: BlockedPixels, words: RandomStream) -> tuple[Ints, Ints]:
    """Grow both long snakes in all images, in turns; afterwards their shadows are blocked for all snakes.

    Returns:
        Ascending numbers of the n images with room for both, and the points (row, column) of their snakes on the fine
        grid from origin to end, (n, 2, contour length + 1, 2).
    """
    parameters = field.stamps.parameters
    count, length = len(field.blocked), parameters.contour_length
    apart = ring(parameters.seed_distance * parameters.antialias)
    apart = apart[words.integers(len(apart), count)]
    edge = int((parameters.padding + parameters.marker_radius) * parameters.antialias)
    room = parameters.window * parameters.antialias - 2 * edge - np.abs(apart)
    corner = edge + words.integers(room.ravel(), room.size).reshape(-1, 2)
    rows = np.arange(count)
    origins = (corner - np.minimum(apart, 0), corner + np.maximum(apart, 0))
    pair = [
        _Growth(field, words, rows=rows, origins=origins[k], length=length, who=(_LONG[k], _LONG[1 - k]))
        for k in range(2)
    ]
    for number in range(length):
        for snake in pair:
            rows = snake.extend(rows, number)
    field.blocked[rows] = field.blocked[rows] != 0  # pixels blocked for any snake are now blocked for all
    return rows, np.stack([snake.points[rows] for snake in pair], axis=1)


def grow_short(field: BlockedPixels, words: RandomStream) -> tuple[Ints, Ints]:
    """Grow all distractors in all images.

    Returns:
        Ascending numbers of the n images with room for all, and the points (row, column) of their distractors on the
        fine grid, (n, distractors, distractor length + 1, 2).
    """
    parameters = field.stamps.parameters
    rows = np.arange(len(field.blocked))
    points = np.zeros((len(rows), parameters.distractors, parameters.distractor_length + 1, 2), np.int64)
    for number in range(parameters.distractors):
        rows = _grow_one(field, rows=rows, points=points[:, number], words=words)
    return rows, points[rows]


def _grow_one(field: BlockedPixels, rows: Ints, points: Ints, words: RandomStream) -> Ints:
    """Add one distractor, write its points to ``points``, and return the numbers of the images with room for it."""
    pending, done = rows, []
    for _ in range(_ORIGINS):
        pending, origins = _free_points(field, pending, words)
        snake = _Growth(field, words, rows=pending, origins=origins, length=points.shape[1] - 1, who=None)
        grown = pending
        for number in range(snake.length):
            grown = snake.extend(grown, number)
        for number in range(snake.length):
            snake.shade(grown, number, _ALL)
        field.blocked[pending] &= ~np.uint8(_OWN)
        points[grown] = snake.points[grown]
        done.append(grown)
        pending = np.setdiff1d(pending, grown)
    return np.sort(np.concatenate(done))


def _free_points(field: BlockedPixels, rows: Ints, words: RandomStream) -> tuple[Ints, Ints]:
    """Draw a random point in a random free pixel; return the images that have a free pixel, and their points."""
    stamps = field.stamps
    scale = stamps.parameters.antialias
    sums = (field.blocked[rows] & _ALL == 0).cumsum(1, dtype=np.int32)
    free = sums[:, -1] > 0
    rows, sums = rows[free], sums[free]
    pixel = (sums <= words.integers(sums[:, -1].astype(np.int64), len(sums))[:, None]).sum(1)
    place = words.integers(scale**2, len(rows))
    corner = np.stack(divmod(pixel, stamps.side), axis=1) - stamps.border
    return rows, corner * scale + np.stack(divmod(place, scale), axis=1)
