"""Targeted attacks: each run aims at one wrong class."""

import torch
from pydantic import Field
from torch import Tensor

from robustbench_wb.stressors.attacks.active_rows import ActiveRows
from robustbench_wb.stressors.attacks.attack import Attack
from robustbench_wb.stressors.attacks.model_queries import ModelQueries


class TargetedAttack(Attack):
    """Base of attacks with one run for each of the likeliest wrong classes of the clean image, for every restart."""

    steps: int = Field(default=100, ge=1)
    targets: int = Field(default=9, ge=1)
    """Wrong classes to aim at, by descending clean logit; all wrong classes if there are fewer."""
    restarts: int = Field(default=1, ge=1)
    """Runs per target; a sample leaves at its first success."""

    @property
    def iterations(self) -> int:
        """Gradient steps per run."""
        return self.steps

    @property
    def runs(self) -> int:
        """Runs per sample."""
        return self.restarts * self.targets

    def begin(self, batch: ActiveRows, seed: int) -> None:
        """Start with no target yet."""
        batch.memory["target"] = torch.zeros_like(batch.labels)

    def aim(self, batch: ActiveRows, oracle: ModelQueries) -> Tensor:
        """Target classes, int64 (B,). Rows at their first step get theirs from the logits of the clean image.

        Rows whose rank exceeds the number of wrong classes end their run with this step.
        """
        new = batch.step == 0
        if bool(new.any()):
            fresh = batch.keep(new)
            logits = oracle.logits(fresh, fresh.originals)
            others = logits.scatter(1, fresh.labels[:, None], -torch.inf)
            rank, last = fresh.run % self.targets, logits.shape[1] - 2
            ordered = others.argsort(dim=1, descending=True, stable=True)
            batch.memory["target"][new] = ordered.gather(1, rank.clamp(max=last)[:, None])[:, 0]
            batch.step[new] = torch.where(rank > last, self.iterations - 1, 0)
        return batch.memory["target"]
