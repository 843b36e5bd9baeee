"""The samples that an attack works on at one time: rows of tensors, each at its own step of its own run."""

from dataclasses import dataclass, field, fields
from typing import Self

import torch
from torch import Tensor


@dataclass
class Batch:
    """One row per sample. Nothing in a row may depend on the other rows."""

    index: Tensor
    """int64 (B,), position in the job."""
    ids: Tensor
    """int64 (B,), sample ids."""
    labels: Tensor
    """int64 (B,), the true labels."""
    originals: Tensor
    """(B, C, H, W) in [0, 1], the clean images."""
    radius: Tensor
    """(B, 1, 1, 1), radius of the ball of each row."""
    rung: Tensor
    """int64 (B,), which strength of the ladder the radius is."""
    run: Tensor
    """int64 (B,), number of the run, from 0."""
    step: Tensor
    """int64 (B,), steps taken in this run."""
    x: Tensor
    """(B, C, H, W), the iterates."""
    warm: Tensor
    """bool (B,), whether ``x`` was placed, before the attack began, where a trial at another radius had come."""
    memory: dict[str, Tensor] = field(default_factory=dict)
    """What an attack remembers of each row; first dimension B."""

    def __len__(self) -> int:
        return len(self.index)

    def keep(self, mask: Tensor) -> Self:
        """The rows where the mask is true."""
        tensors = {name: getattr(self, name)[mask] for name in _TENSORS}
        return type(self)(**tensors, memory={name: kept[mask] for name, kept in self.memory.items()})

    def join(self, other: Self) -> Self:
        """These rows, then the other's."""
        if not len(other) or not len(self):
            return self if len(self) else other
        tensors = {name: torch.cat([getattr(self, name), getattr(other, name)]) for name in _TENSORS}
        memory = {name: torch.cat([kept, other.memory[name]]) for name, kept in self.memory.items()}
        return type(self)(**tensors, memory=memory)

    def put(self, rows: Tensor, name: str, value: Tensor) -> None:
        """Write ``value`` (B, ...) into a memory where the mask (B,) is true."""
        kept = self.memory[name]
        self.memory[name] = torch.where(rows.view(-1, *[1] * (kept.ndim - 1)), value, kept)


_TENSORS = tuple(entry.name for entry in fields(Batch) if entry.name != "memory")
