"""Which radius of a ladder a sample is tried at next."""

from bisect import bisect_left
from collections.abc import Sequence
from math import inf


class Brackets:
    """What is known of each sample: held below ``low``, broken from ``high`` on; between them it is open.

    To hold costs all steps and to break a few, so the cheapest proof is one trial at the largest radius that holds and
    one at the next. Where it lies is read off a straight line through the margin loss at the image and where the last
    trial came nearest to an error: it crosses zero at the ``reach`` of the sample.
    """

    def __init__(self, radii: Sequence[float], samples: int) -> None:
        self.radii = list(radii)
        self.low, self.high = [0] * samples, [len(radii)] * samples
        self.tried: dict[int, int] = {}
        """The rung of the last trial of each sample that had one."""
        self.clean: dict[int, float] = {}
        """The margin loss at the image of each sample that was looked at."""
        self.reach: dict[int, float] = {}
        """The radius at which each of these is expected to break."""

    def look(self, index: int, clean: float, slope: float) -> None:
        """Take in the margin loss at the image and by how much it rises per unit of radius."""
        self.clean[index], self.reach[index] = clean, -clean / slope if slope > 0 else inf

    def next(self, index: int) -> int | None:
        """The rung to try now, the middle of the bracket if nothing is expected; None when the sample is answered."""
        low, high = self.low[index], self.high[index]
        if low >= high:
            return None
        if index not in self.reach:
            return (low + high) // 2
        return min(max(bisect_left(self.radii, self.reach[index]) - 1, low), high - 1)

    def learn(self, index: int, rung: int, broken: bool, height: float) -> None:
        """Take in how all runs at a rung ended, and the largest margin loss there."""
        self.tried[index] = rung
        if broken:
            self.high[index] = rung
        else:
            self.low[index] = rung + 1
        if index in self.clean:
            rise = height - self.clean[index]
            self.reach[index] = -self.clean[index] * self.radii[rung] / rise if rise > 0 else inf
