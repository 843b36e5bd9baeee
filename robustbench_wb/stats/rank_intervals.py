"""How sure the places of an order are: which subjects are certainly better than which, and what follows from that."""

from collections.abc import Sequence
from string import ascii_lowercase

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.stats.multiplicity import holm
from robustbench_wb.stats.resampling import sign_flip_p

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def significantly_better(
    columns: Sequence[Floats | None], pairs: Sequence[tuple[int, int]], alpha: float = 0.05
) -> Bools:
    """Which subjects have a higher mean than which, beyond chance, all pairs taken together.

    The samples of two subjects are paired: what they share cancels. Each pair is tested by
    :func:`~robustbench_wb.stats.resampling.sign_flip_p` of the differences, and Holm's correction keeps the chance of
    even one false claim at ``alpha``, however the tests depend on each other.

    Args:
        columns: (n,) of each subject, higher is better; one number per sample, in the same order of samples for both of
            a pair.
        pairs: which to test, as places in ``columns``.

    Returns:
        (k, k); [a, b] says that a is better than b. What was not tested is False.
    """
    better = np.zeros((len(columns), len(columns)), dtype=np.bool_)
    differences = []
    for first, second in pairs:
        left, right = columns[first], columns[second]
        if left is None or right is None:
            raise ValueError(f"certainly_better: subjects {first} and {second} have no samples to compare")
        differences.append(left - right)
    for (first, second), values, p in zip(pairs, differences, holm(sign_flip_p(differences)), strict=True):
        if p <= alpha:
            better[(first, second) if values.sum() > 0 else (second, first)] = True
    return better


def rank_intervals(better: Bools) -> list[tuple[int, int]]:
    """From one more than the number of subjects that are certainly better, to all but those that are certainly worse.

    Where no pair is called wrongly, each true rank lies in its interval, and with ties every rank that the subject may
    claim; so that all intervals together cover with the confidence of the pairs (Al Mohamad, van Zwet, Goeman &
    Solari 2017, arXiv 1708.02729; Klein, Wright & Wieczorek 2020, Journal of the Royal Statistical Society C 69,
    589-606).

    Args:
        better: (k, k), see :func:`certainly_better`.
    """
    above, below = better.sum(axis=0), better.sum(axis=1)
    return [(1 + int(up), len(better) - int(down)) for up, down in zip(above, below, strict=True)]


def letter_display(better: Bools) -> list[str]:
    """A compact letter display: two subjects share a letter exactly if neither is certainly better than the other.

    By insertion and absorption (Piepho 2004, Journal of Computational and Graphical Statistics 13, 456-466).

    Args:
        better: (k, k), see :func:`certainly_better`; the subjects in order, for the letters to be in order.

    Returns:
        The letters of each subject, like ``ab``; after ``z`` comes ``a1``.
    """
    groups: list[frozenset[int]] = [frozenset(range(len(better)))] if len(better) else []
    for first, second in np.argwhere(np.triu(better | better.T)).tolist():
        split = [part for group in groups for part in _without(group, first, second)]
        groups = [one for one in dict.fromkeys(split) if not any(one < other for other in split)]
    groups.sort(key=sorted)
    return ["".join(_letter(at) for at, group in enumerate(groups) if one in group) for one in range(len(better))]


def _without(group: frozenset[int], first: int, second: int) -> list[frozenset[int]]:
    """The group without the one or the other, where it has both."""
    return [group - {first}, group - {second}] if {first, second} <= group else [group]


def _letter(place: int) -> str:
    round_, at = divmod(place, len(ascii_lowercase))
    return ascii_lowercase[at] + (str(round_) if round_ else "")
