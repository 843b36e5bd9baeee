"""Ranks of models by a per-sample score, with simultaneous rank intervals from paired tests."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import expm1
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.analysis.sample_scores import SampleScores
from robustbench_wb.stats.intervals import Interval
from robustbench_wb.stats.paired import tango_interval
from robustbench_wb.stats.rank_intervals import letter_display, rank_intervals, significantly_better
from robustbench_wb.stats.resampling import bca_intervals

_DIGITS: Final = 12
"""Decimals to which scores are compared, because sums in another order differ in the last bit."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ScoredModel:
    """Model to be ranked."""

    name: tuple[str, ...]
    """Name that orders models of equal scores."""
    lacking: int
    """Number of missing perplexities, 0 for accuracy; models that lack fewer rank first."""
    score: float
    """Score, smallest is best: minus an accuracy, or a mean log perplexity."""
    scores: SampleScores

    @property
    def standing(self) -> tuple[int, float]:
        """Rounded sort key, smallest is best."""
        return self.lacking, round(self.score, _DIGITS)


class RankedScore(NamedTuple):
    """Rank of one model, with its interval if its outcomes are known."""

    rank: int
    """Rank from 1; models of equal scores share the best of their ranks."""
    low: int | None
    high: int | None
    group: str
    """Letters: models that share a letter do not differ significantly. Empty without outcomes."""


def order_models(models: Sequence[ScoredModel]) -> list[int]:
    """Indices of the models from best to worst; equal scores by name."""
    return sorted(range(len(models)), key=lambda at: (models[at].standing, models[at].name))


def rank_models(models: Sequence[ScoredModel], *, accuracy: bool) -> tuple[list[RankedScore], int]:
    """Rank of each model, and the number of tested pairs.

    Args:
        models: all models of a panel, best first.
        accuracy: whether the metric is accuracy, else perplexity.
    """
    better, tests = _compare(models, accuracy)
    ranked = []
    for model, (low, high), group in zip(models, rank_intervals(better), letter_display(better), strict=True):
        rank = 1 + sum(other.standing < model.standing for other in models)
        known = model.scores.values is not None
        ends = (low, high) if known else (None, None)
        ranked.append(RankedScore(rank=rank, low=ends[0], high=ends[1], group=group if known else ""))
    return ranked, tests


def lead_interval(models: Sequence[ScoredModel], *, accuracy: bool) -> Interval | None:
    """95 % interval of the lead of the first model over the second, paired by sample and not corrected for other pairs.

    The lead is a difference of accuracies, or how far a perplexity lies below the other, as a share of the other. One
    outcome per sample gives Tango's score interval, means over cells and losses give the BCa bootstrap.

    Args:
        models: all models of a panel, best first.
        accuracy: whether the metric is accuracy, else perplexity.

    Returns:
        The interval; None if the outcomes of the two models are unknown or not of the same samples.
    """
    if len(models) < 2 or not _comparable(models[0].scores, models[1].scores, accuracy):
        return None
    first, second = models[0].scores.values, models[1].scores.values
    if first is None or second is None:
        return None
    differences = first - second
    if accuracy and np.isin(differences, (-1, 0, 1)).all():
        lost, gained = ([float((differences == change).sum())] for change in (-1, 1))
        low, high = tango_interval([len(differences)], lost, gained)
        return Interval(float(low[0]), float(high[0]))
    if not np.isfinite(differences).all():
        return None
    ((interval,),) = bca_intervals([differences], (0.95,))
    return interval if accuracy else Interval(-expm1(interval.high), -expm1(interval.low))


def _compare(models: Sequence[ScoredModel], accuracy: bool) -> tuple[NDArray[np.bool_], int]:
    """Significant differences between the models, (k, k), and the number of tested pairs."""
    sign = 1.0 if accuracy else -1.0
    columns = [None if one.scores.values is None else sign * one.scores.values for one in models]
    pairs = list(combinations(range(len(models)), 2))
    tested = [(at, to) for at, to in pairs if _comparable(models[at].scores, models[to].scores, accuracy)]
    better = significantly_better(columns, tested)
    for at, to in pairs:
        better[at, to] |= _decided_by_rule(models[at], models[to])
    return better, len(tested)


def _comparable(one: SampleScores, other: SampleScores, accuracy: bool) -> bool:
    """Whether two models can be paired by sample. A cell that does not count is an accuracy of 0, but has no loss."""
    if one.values is None or other.values is None or one.origin != other.origin:
        return False
    return len(one.values) == len(other.values) and (accuracy or one.counted == other.counted)


def _decided_by_rule(one: ScoredModel, other: ScoredModel) -> bool:
    """Whether ``one`` outranks ``other`` without a test, because ``other`` lacks more perplexities or has no cell that
    counts."""
    if one.lacking != other.lacking:
        return True
    return not other.scores.counted and one.standing < other.standing
