"""Bisection over the radii of a ladder: the radius at which each sample is tried next."""

from bisect import bisect_left
from collections.abc import Sequence
from math import inf


class RadiusBisection:
    """Range of radii that is still open for each sample: robust below ``low``, broken from ``high`` on.

    A trial that holds costs all steps, one that breaks only a few. The cheapest proof is therefore one trial at the
    largest radius that holds and one at the next. Their position is estimated by a straight line through the margin
    loss at the clean image and the largest margin loss of the last trial: the line crosses zero at the sample's
    ``reach``.
    """

    def __init__(self, radii: Sequence[float], samples: int) -> None:
        self.radii = list(radii)
        self.low, self.high = [0] * samples, [len(radii)] * samples
        self.tried: dict[int, int] = {}
        """Rung of the last trial of each sample that had one."""
        self.clean: dict[int, float] = {}
        """Margin loss at the clean image of each sample that was measured there."""
        self.reach: dict[int, float] = {}
        """Expected radius at which each sample in ``clean`` breaks."""

    def record_clean_margin(self, index: int, clean: float, slope: float) -> None:
        """Record the margin loss at the clean image and its slope per unit of radius."""
        self.clean[index], self.reach[index] = clean, -clean / slope if slope > 0 else inf

    def next_rung(self, index: int) -> int | None:
        """Rung to try next, or None when all rungs of the sample are decided.

        Without an expected radius, this is the middle of the open range.
        """
        low, high = self.low[index], self.high[index]
        if low >= high:
            return None
        if index not in self.reach:
            return (low + high) // 2
        return min(max(bisect_left(self.radii, self.reach[index]) - 1, low), high - 1)

    def record_trial(self, index: int, rung: int, *, broken: bool, height: float) -> None:
        """Record the outcome of all runs at a rung; ``height`` is the largest margin loss reached there."""
        self.tried[index] = rung
        if broken:
            self.high[index] = rung
        else:
            self.low[index] = rung + 1
        if index in self.clean:
            rise = height - self.clean[index]
            self.reach[index] = -self.clean[index] * self.radii[rung] / rise if rise > 0 else inf
