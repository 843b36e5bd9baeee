"""Division of a ladder into shards: ranges of samples that are measured apart, and joined to the same cells."""

import logging
import os
from collections.abc import Collection, Sequence
from itertools import pairwise
from math import ceil, inf
from typing import Final

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.engine.foreign_stressor import is_own
from robustbench_wb.engine.measure import samples_together
from robustbench_wb.engine.model_session import ModelSession
from robustbench_wb.engine.plan import Ladder
from robustbench_wb.engine.record_keeper import Span
from robustbench_wb.engine.task_context import is_probe
from robustbench_wb.errors import MeasurementError, UsageError
from robustbench_wb.stressors.fitted_stressor import FittedStressor
from robustbench_wb.stressors.model_free import ModelFreeStressor

_log = logging.getLogger(__name__)
SHARD_SECONDS: Final = 30.0
"""Forecast seconds of one shard, unless the variable ``RBWB_SHARD_SECONDS`` says otherwise. Cannot change a result."""
_BATCHED_SUMS: Final = ("spsa-", "published-spsa")
"""Beginnings of the names of attacks that add up thousands of differences, with a rounding that depends on the batch:
the same samples in another batch have losses that differ in the last bits."""


def is_divisible(session: ModelSession, ladder: Ladder) -> bool:
    """Whether the samples of a ladder can be measured apart, without a change of any result.

    Not so: answers that depend on more than the sample (a random model, attacks of libraries that perturb samples
    together, stressors of other packages), what is made once for all samples (corruptions, universal perturbations, the
    probe, layers), and what needs other models (contaminated training splits, surrogates).
    """
    first = ladder.rungs[0]
    if session.context.run.plan.layers or session.plan.is_shortcut or is_probe(ladder):
        return False
    if ladder.contaminations or first.surrogate is not None or isinstance(first, ModelFreeStressor | FittedStressor):
        return False
    if first.name.startswith(_BATCHED_SUMS) or samples_together(first) > 1 or not is_own(first):
        return False
    try:
        return not session.is_random
    except MeasurementError:  # its cells say so
        _log.debug("not divided", exc_info=True)
        return False


def missing_spans(parts: Collection[Span], samples: int) -> list[Span]:
    """Ranges of the samples that no part covers, in order."""
    found, end = [], 0
    for first, stop in sorted(parts):
        if end < first:
            found.append((end, first))
        end = max(end, stop)
    return [*found, (end, samples)] if end < samples else found


def disjoint(parts: Collection[Span]) -> list[Span]:
    """Ranges that do not overlap, chosen in order: two runs at once may have kept different ones."""
    found: list[Span] = []
    for first, stop in sorted(parts):
        if not found or found[-1][1] <= first:
            found.append((first, stop))
    return found


def cut(span: Span, ends: Sequence[int]) -> list[tuple[int, Span]]:
    """Cut a range of samples at some of its indices.

    Args:
        span: the range.
        ends: ascending indices after the last sample of each piece; the last is at least the end of the range.

    Returns:
        Pieces in order, each with its number among all pieces, from 1.
    """
    starts = (0, *ends)
    pieces = [(number, (max(span[0], starts[number - 1]), min(span[1], end))) for number, end in enumerate(ends, 1)]
    return [(number, piece) for number, piece in pieces if piece[0] < piece[1]]


def divide(span: Span, tried: NDArray[np.int64], seconds: float) -> list[tuple[Span, float]]:
    """Cut a range of samples into ranges of about ``SHARD_SECONDS`` each, with equal numbers of samples to be tried.

    Args:
        span: the range.
        tried: indices of the samples that the stressor tries, ascending; others take no time.
        seconds: forecast of one of these samples.

    Returns:
        Ranges in order, each with its forecast in seconds.
    """
    own = tried[(tried >= span[0]) & (tried < span[1])]
    pieces = max(1, min(len(own), ceil(len(own) * seconds / shard_seconds())))
    cuts = [span[0], *(int(own[len(own) * piece // pieces]) for piece in range(1, pieces)), span[1]]
    return [((first, stop), seconds * int(((own >= first) & (own < stop)).sum())) for first, stop in pairwise(cuts)]


def shard_seconds() -> float:
    """Forecast seconds of one shard.

    Raises:
        UsageError: ``RBWB_SHARD_SECONDS`` is no positive number.
    """
    text = os.environ.get("RBWB_SHARD_SECONDS", "")
    try:
        seconds = float(text or SHARD_SECONDS)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < inf:
        raise UsageError(f"RBWB_SHARD_SECONDS is a number of seconds above 0, not {text!r}")
    return seconds
