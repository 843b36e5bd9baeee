"""Simultaneous confidence intervals of ranks, from pairwise tests."""

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
    """Significant differences between the means of several models, at family-wise error rate ``alpha``.

    The samples of two models are paired. Each pair of models is tested by
    ``sign_flip_p`` on the differences. Holm's correction over all pairs keeps the
    probability of any false rejection at ``alpha`` under any dependence between the tests.

    Args:
        columns: (n,) scores of each model, one per sample, higher is better; None for a model without scores. Both
            models of a pair have their samples in the same order.
        pairs: models to test, as indices of ``columns``.
        alpha: family-wise error rate.

    Returns:
        (k, k) matrix; entry [a, b] is True if model a is significantly better than b. Untested pairs are False.

    Raises:
        ValueError: a model of a pair has no scores.
    """
    better = np.zeros((len(columns), len(columns)), dtype=np.bool_)
    differences = []
    for first, second in pairs:
        left, right = columns[first], columns[second]
        if left is None or right is None:
            raise ValueError(f"significantly_better: models {first} and {second} have no samples to compare")
        differences.append(left - right)
    for (first, second), values, p in zip(pairs, differences, holm(sign_flip_p(differences)), strict=True):
        if p <= alpha:
            better[(first, second) if values.sum() > 0 else (second, first)] = True
    return better


def rank_intervals(better: Bools) -> list[tuple[int, int]]:
    """Rank interval of each model: 1 + number of significantly better models, to k - number of worse ones.

    If no pair is rejected falsely, every interval contains its true rank, and with ties every rank that the model may
    take. The intervals therefore cover simultaneously at the confidence of the pairwise tests (Al Mohamad, van Zwet,
    Goeman & Solari 2017, arXiv 1708.02729; Klein, Wright & Wieczorek 2020, Journal of the Royal Statistical Society C
    69, 589-606).

    Args:
        better: (k, k), see ``significantly_better``.
    """
    above, below = better.sum(axis=0), better.sum(axis=1)
    return [(1 + int(up), len(better) - int(down)) for up, down in zip(above, below, strict=True)]


def letter_display(better: Bools) -> list[str]:
    """Compact letter display: two models share a letter exactly if neither is significantly better than the other.

    Insertion and absorption algorithm (Piepho 2004, Journal of Computational and Graphical Statistics 13, 456-466).

    Args:
        better: (k, k), see ``significantly_better``; models in rank order give letters in order.

    Returns:
        The letters of each model, like ``ab``; after ``z`` comes ``a1``.
    """
    groups: list[frozenset[int]] = [frozenset(range(len(better)))] if len(better) else []
    for first, second in np.argwhere(np.triu(better | better.T)).tolist():
        split = [part for group in groups for part in _without(group, first, second)]
        groups = [one for one in dict.fromkeys(split) if not any(one < other for other in split)]
    groups.sort(key=sorted)
    return ["".join(_letter(at) for at, group in enumerate(groups) if one in group) for one in range(len(better))]


def _without(group: frozenset[int], first: int, second: int) -> list[frozenset[int]]:
    """Split a group that contains both models into two groups that contain one of them each."""
    return [group - {first}, group - {second}] if {first, second} <= group else [group]


def _letter(place: int) -> str:
    round_, at = divmod(place, len(ascii_lowercase))
    return ascii_lowercase[at] + (str(round_) if round_ else "")
