"""Sample-by-sample pairing of two records of one cell, with bounds for unjudged samples."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.records.record import Record, State

Differences = NDArray[np.int8] | NDArray[np.float64]
"""Differences of single samples: bytes for outcomes, of which a large comparison holds very many, floats for losses."""


@dataclass(frozen=True, eq=False, kw_only=True)
class PairedOutcomes:
    """Samples of one cell, paired by id.

    A sample that was not judged on one side could have come out either way, so a difference lies between two bounds. In
    the worst case such a sample was correct before, or is wrong now.
    """

    ids: NDArray[np.int64]
    """(n,) sample ids, ascending. Samples that neither record names have negative ids."""
    worst: Differences
    """(n,) new minus old in the worst case. Accuracy: -1 lost, 0 unchanged, 1 gained. Perplexity: difference of the
    losses in nats per token."""
    best: Differences
    """(n,) new minus old in the best case; the array ``worst`` itself if all samples were judged."""
    unjudged: int = 0
    """Samples that were not judged on at least one side."""
    both: int | None = None
    """Samples robust on both sides; None for perplexity."""
    neither: int | None = None
    """Samples judged on both sides and robust on neither; None for perplexity."""
    lost_ids: tuple[int, ...] = ()
    """Samples judged on both sides and robust on the old side only."""
    gained_ids: tuple[int, ...] = ()
    """Samples judged on both sides and robust on the new side only."""


def accuracy_outcomes(old: Record | None, new: Record | None, n: int | None) -> PairedOutcomes | None:
    """Pair two records of correct or wrong outcomes.

    Args:
        old: the earlier record; None if the cell failed and no sample was judged.
        new: the later record; None if the cell failed and no sample was judged.
        n: number of requested samples, the same on both sides. None if the samples may differ; the common ones are
            then compared.

    Returns:
        The pairs; None if the records together name more than ``n`` samples, or have no sample in common.
    """
    (old_ids, old_states), (new_ids, new_states) = _states(old), _states(new)
    if not np.array_equal(old_ids, new_ids):
        ids = np.intersect1d(old_ids, new_ids) if n is None else np.union1d(old_ids, new_ids)
        old_states, new_states = _spread(old_ids, old_states, ids), _spread(new_ids, new_states, ids)
    else:
        ids = old_ids
    missing = 0 if n is None else n - len(ids)
    if missing < 0 or len(ids) + missing == 0:
        return None
    if missing:
        ids = np.concatenate([np.arange(-missing, 0), ids])
        unknown = np.full(missing, State.NOT_RUN, dtype=np.int8)
        old_states, new_states = np.concatenate([unknown, old_states]), np.concatenate([unknown, new_states])
    return _paired(ids, old_states, new_states)


def _paired(ids: NDArray[np.int64], old_states: NDArray[np.int8], new_states: NDArray[np.int8]) -> PairedOutcomes:
    was, now = old_states == State.ROBUST, new_states == State.ROBUST
    old_open, new_open = _open(old_states), _open(new_states)
    judged = ~(old_open | new_open)
    unjudged = len(ids) - int(np.count_nonzero(judged))
    worst = now.astype(np.int8) - (was | old_open)
    ids, numbers = _shared_ids(ids.tobytes())
    lost, gained = numbers[was & ~now & judged], numbers[~was & now & judged]
    return PairedOutcomes(
        ids=ids,
        worst=worst,
        best=(now | new_open).astype(np.int8) - was if unjudged else worst,
        unjudged=unjudged,
        both=int(np.count_nonzero(was & now)),
        neither=int(np.count_nonzero(judged & ~was & ~now)),
        lost_ids=tuple(lost.tolist()),
        gained_ids=tuple(gained.tolist()),
    )


@lru_cache(maxsize=8)
def _shared_ids(content: bytes) -> tuple[NDArray[np.int64], NDArray[np.object_]]:
    """Sample ids from their bytes, as numbers and as Python objects: one of each for all cells with equal samples."""
    ids = np.frombuffer(content, dtype=np.int64)
    return ids, ids.astype(np.object_)


def loss_outcomes(old: Record, new: Record, n: int | None) -> PairedOutcomes | None:
    """Pair the losses of two complete records of language modelling.

    Args:
        old: the earlier record.
        new: the later record.
        n: number of requested samples, the same on both sides; None to compare the common ones.

    Returns:
        The pairs; None if the records have no sample in common, or not exactly ``n``.
    """
    ids, old_at, new_at = np.intersect1d(old.ids, new.ids, assume_unique=True, return_indices=True)
    if not len(ids) or (n is not None and len(ids) != n):
        return None
    differences = new.token_losses[new_at] - old.token_losses[old_at]
    return PairedOutcomes(ids=ids.astype(np.int64), worst=differences, best=differences)


def _states(record: Record | None) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Ids in ascending order and their states; empty without a record."""
    if record is None:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int8)
    ids = record.ids.astype(np.int64)
    if (np.diff(ids) > 0).all():
        return ids, record.states
    order = np.argsort(ids, kind="stable")
    return ids[order], record.states[order]


def _spread(ids: NDArray[np.int64], states: NDArray[np.int8], onto: NDArray[np.int64]) -> NDArray[np.int8]:
    """States of the samples ``onto``; samples that are not in ``ids`` were not run."""
    found = np.full(len(onto), State.NOT_RUN, dtype=np.int8)
    known = np.isin(onto, ids, assume_unique=True)
    found[known] = states[np.searchsorted(ids, onto[known])]
    return found


def _open(states: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Whether each sample is unjudged."""
    opened: NDArray[np.bool_] = (states == State.ERRORED) | (states == State.NOT_RUN)
    return opened
