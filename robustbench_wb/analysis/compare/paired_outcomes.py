"""Sample-by-sample pairing of two records of one cell, with bounds for unjudged samples."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.analysis.compare.sample_ids import Bits, SampleIds, count_set, packed, unpacked
from robustbench_wb.records.record import Record, State

Differences = NDArray[np.int8] | NDArray[np.float64]
"""Differences of single samples: bytes for outcomes, floats for losses."""


@dataclass(frozen=True, eq=False, kw_only=True)
class PairedOutcomes(ABC):
    """Samples of one cell, paired by id.

    A sample that was not judged on one side could have come out either way, so a difference lies between two bounds. In
    the worst case such a sample was correct before, or is wrong now.
    """

    ids: NDArray[np.int64]
    """(n,) sample ids, ascending. Samples that neither record names have negative ids."""

    @property
    @abstractmethod
    def worst(self) -> Differences:
        """(n,) new minus old in the worst case. Computed when asked for."""

    @property
    @abstractmethod
    def best(self) -> Differences:
        """(n,) new minus old in the best case. Computed when asked for."""

    @property
    @abstractmethod
    def unjudged(self) -> int:
        """Number of samples that were not judged on at least one side."""


@dataclass(frozen=True, eq=False, kw_only=True)
class PairedLosses(PairedOutcomes):
    """Losses of language modelling of one cell, paired by sample; all samples were judged."""

    differences: NDArray[np.float64]
    """(n,) new minus old loss in nats per token."""

    @property
    def worst(self) -> Differences:
        """(n,) the differences."""
        return self.differences

    @property
    def best(self) -> Differences:
        """(n,) the differences."""
        return self.differences

    @property
    def unjudged(self) -> int:
        """0."""
        return 0


@dataclass(frozen=True, eq=False, kw_only=True)
class PairedStates(PairedOutcomes):
    """States of the samples of one cell, paired by id, in four bits per sample.

    A difference of a sample is -1 if it is robust on the old side only, 1 if on the new side only, else 0.
    """

    old_robust: Bits
    """Whether each sample is robust on the old side."""
    new_robust: Bits
    """Whether each sample is robust on the new side."""
    old_unjudged: Bits
    """Whether each sample was not judged on the old side."""
    new_unjudged: Bits
    """Whether each sample was not judged on the new side."""

    @property
    def worst(self) -> Differences:
        """(n,) -1, 0 or 1; unjudged samples were robust on the old side and are not robust on the new side."""
        return self._difference(self.old_robust | self.old_unjudged, self.new_robust)

    @property
    def best(self) -> Differences:
        """(n,) -1, 0 or 1; unjudged samples were not robust on the old side and are robust on the new side."""
        return self._difference(self.old_robust, self.new_robust | self.new_unjudged)

    def _difference(self, old: Bits, new: Bits) -> NDArray[np.int8]:
        now, was = (unpacked(bits, len(self.ids)).view(np.int8) for bits in (new, old))
        return now - was

    @property
    def unjudged(self) -> int:
        """Number of samples that were not judged on at least one side."""
        return count_set(self.old_unjudged | self.new_unjudged)

    @property
    def lost_ids(self) -> SampleIds:
        """Samples judged on both sides and robust on the old side only."""
        return SampleIds(self.ids, self.old_robust & ~self.new_robust & ~self.new_unjudged)

    @property
    def gained_ids(self) -> SampleIds:
        """Samples judged on both sides and robust on the new side only."""
        return SampleIds(self.ids, self.new_robust & ~self.old_robust & ~self.old_unjudged)

    @property
    def both(self) -> int:
        """Number of samples robust on both sides."""
        return count_set(self.old_robust & self.new_robust)

    @property
    def neither(self) -> int:
        """Number of samples judged on both sides and robust on neither."""
        known = self.old_robust | self.new_robust | self.old_unjudged | self.new_unjudged
        return len(self.ids) - count_set(known)


def accuracy_outcomes(old: Record | None, new: Record | None, n: int | None) -> PairedStates | None:
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


def _paired(ids: NDArray[np.int64], old_states: NDArray[np.int8], new_states: NDArray[np.int8]) -> PairedStates:
    return PairedStates(
        ids=_shared_ids(ids.tobytes()),
        old_robust=packed(old_states == State.ROBUST),
        new_robust=packed(new_states == State.ROBUST),
        old_unjudged=packed(_unjudged(old_states)),
        new_unjudged=packed(_unjudged(new_states)),
    )


@lru_cache(maxsize=8)
def _shared_ids(content: bytes) -> NDArray[np.int64]:
    """Sample ids from their bytes: one array for all cells with equal samples."""
    return np.frombuffer(content, dtype=np.int64)


def loss_outcomes(old: Record, new: Record, n: int | None) -> PairedLosses | None:
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
    return PairedLosses(ids=ids.astype(np.int64), differences=differences)


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


def _unjudged(states: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Whether each sample was not judged."""
    found: NDArray[np.bool_] = (states == State.ERRORED) | (states == State.NOT_RUN)
    return found
