"""Which of several things are beaten in no way: as cheap and as good at once is no other."""

from collections.abc import Sequence


def pareto_front(costs: Sequence[float], values: Sequence[float]) -> list[int]:
    """Indices of the points that no other dominates, by ascending cost.

    A point dominates another if it costs no more, is worth no less, and differs in one of the two.

    Args:
        costs: (k,), lower is better.
        values: (k,), higher is better.

    Returns:
        Indices; equal points are all in, in the order given.
    """
    order = sorted(range(len(costs)), key=lambda at: (costs[at], -values[at], at))
    front: list[int] = []
    for at in order:
        best = front[-1] if front else None
        if best is None or values[at] > values[best] or (costs[at], values[at]) == (costs[best], values[best]):
            front.append(at)
    return front
