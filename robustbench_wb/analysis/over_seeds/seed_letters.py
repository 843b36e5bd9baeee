"""Letters of architectures: those that share one do not differ significantly over seeds and samples."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Final

import numpy as np

from robustbench_wb.analysis.compare.overall import ClusteredOutcomes, CrossedSeeds
from robustbench_wb.analysis.sample_scores import SampleScores
from robustbench_wb.stats.rank_intervals import letter_display

_Pair = tuple[int, int]

ALPHA: Final = 0.05
"""Family-wise error rate."""


def seed_letters(lines: Sequence[Mapping[int, SampleScores]], *, cells: int, accuracy: bool) -> tuple[list[str], int]:
    """Letters of each architecture, and the number of tested pairs.

    Two architectures are paired by seed and by sample, on the seeds that both have. Their difference is tested with
    seeds and samples as crossed random effects, by whether the interval of the mean difference contains 0, see
    ``robustbench_wb.stats.crossed_effects``. Holm's correction over all pairs keeps the probability of any false
    difference at ``ALPHA``.

    Args:
        lines: per-sample scores of each architecture by seed, best architecture first.
        cells: number of cells that a per-sample score is the mean of.
        accuracy: whether the metric is accuracy, else perplexity.

    Returns:
        Letters like ``ab``, empty for an architecture that is in no tested pair: it has fewer than two seeds in common
        with every other one, or outcomes are unknown.
    """
    means: dict[_Pair, CrossedSeeds] = {}
    for one, other in combinations(range(len(lines)), 2):
        cases = _differences(lines[one], lines[other], cells, accuracy=accuracy)
        if len(cases) > 1:
            ids = np.arange(len(cases[0].clusters))
            means[one, other] = CrossedSeeds(cases, [ids] * len(cases), accuracy=accuracy)
    better = np.zeros((len(lines), len(lines)), dtype=np.bool_)
    for one, other in _different(means):
        better[(one, other) if means[one, other].mean > 0 else (other, one)] = True
    tested = {place for pair in means for place in pair}
    letters = [group if at in tested else "" for at, group in enumerate(letter_display(better))]
    return letters, len(means)


def _different(means: Mapping[_Pair, CrossedSeeds]) -> set[_Pair]:
    """Pairs that Holm's step-down procedure rejects. An interval at one level takes far less time than a p-value."""
    rejected: set[_Pair] = set()
    left = dict(means)
    while left:
        level = ALPHA / len(left)
        ends = {pair: crossed.interval(level) for pair, crossed in left.items()}
        found = {pair for pair, (low, high) in ends.items() if not low <= 0 <= high}
        if not found:
            break
        rejected |= found
        left = {pair: crossed for pair, crossed in left.items() if pair not in found}
    return rejected


def _differences(
    one: Mapping[int, SampleScores], other: Mapping[int, SampleScores], cells: int, *, accuracy: bool
) -> list[ClusteredOutcomes]:
    """Paired outcomes of each common seed, positive where ``one`` is better; none if a common seed has no outcomes."""
    found = []
    origins = {scores.origin for scores in (*one.values(), *other.values())}
    for seed in sorted(one.keys() & other.keys()):
        left, right = one[seed], other[seed]
        if left.values is None or right.values is None or len(origins) > 1 or left.counted != right.counted:
            return []
        difference = left.values - right.values
        found.append(ClusteredOutcomes.of_differences(difference if accuracy else -difference, cells))
    return found
