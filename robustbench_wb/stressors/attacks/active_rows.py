"""Samples that an attack works on at one time: rows of tensors, each at its own step of its own run."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor


@dataclass(kw_only=True)
class ActiveRows:
    """The rows that an attack is working on, one per sample. No row depends on the other rows."""

    index: Tensor
    """int64 (B,), position in the batch of samples that is attacked."""
    ids: Tensor
    """int64 (B,), sample ids."""
    labels: Tensor
    """int64 (B,), the true labels."""
    originals: Tensor
    """float32 (B, C, H, W) in [0, 1], the clean images."""
    radius: Tensor
    """float32 (B, 1, 1, 1), radius of each row's ball."""
    rung: Tensor
    """int64 (B,), position of the radius in the ladder of strengths."""
    run: Tensor
    """int64 (B,), number of the run, from 0."""
    step: Tensor
    """int64 (B,), steps taken in this run."""
    x: Tensor
    """float32 (B, C, H, W), the current iterates."""
    warm: Tensor
    """bool (B,), whether ``x`` starts from the result of a trial at another radius."""
    memory: dict[str, Tensor] = field(default_factory=dict)
    """State that an attack keeps for each row; first dimension B."""

    def __len__(self) -> int:
        return len(self.index)

    def keep(self, mask: Tensor) -> Self:
        """Rows where the mask, bool (B,), is true."""
        return self._merged(self, lambda own, _: own[mask])

    def join(self, other: Self) -> Self:
        """Rows of this batch followed by those of the other."""
        if not len(other) or not len(self):
            return self if len(self) else other
        return self._merged(other, lambda own, others: torch.cat([own, others]))

    def _merged(self, other: Self, merge: Callable[[Tensor, Tensor], Tensor]) -> Self:
        """Batch whose tensors are made from those of this batch and of the other, one by one."""
        return type(self)(
            index=merge(self.index, other.index),
            ids=merge(self.ids, other.ids),
            labels=merge(self.labels, other.labels),
            originals=merge(self.originals, other.originals),
            radius=merge(self.radius, other.radius),
            rung=merge(self.rung, other.rung),
            run=merge(self.run, other.run),
            step=merge(self.step, other.step),
            x=merge(self.x, other.x),
            warm=merge(self.warm, other.warm),
            memory={name: merge(kept, other.memory[name]) for name, kept in self.memory.items()},
        )

    def put(self, rows: Tensor, name: str, value: Tensor) -> None:
        """Write ``value`` (B, ...) into the named state where the mask, bool (B,), is true."""
        kept = self.memory[name]
        self.memory[name] = torch.where(rows.view(-1, *[1] * (kept.ndim - 1)), value, kept)
