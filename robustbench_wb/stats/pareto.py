"""Pareto front of points with a cost and a value."""

from collections.abc import Sequence


def pareto_front(costs: Sequence[float], values: Sequence[float]) -> list[int]:
    """Indices of the non-dominated points, by ascending cost.

    A point dominates another if its cost is not higher, its value is not lower, and one of the two differs.

    Args:
        costs: (k,) numbers, lower is better.
        values: (k,) numbers, higher is better.

    Returns:
        Indices; equal points are all included, in the given order.
    """
    order = sorted(range(len(costs)), key=lambda at: (costs[at], -values[at], at))
    front: list[int] = []
    for at in order:
        best = front[-1] if front else None
        if best is None or values[at] > values[best] or (costs[at], values[at]) == (costs[best], values[best]):
            front.append(at)
    return front
