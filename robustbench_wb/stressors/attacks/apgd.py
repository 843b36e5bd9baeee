"""Auto-PGD: projected gradient ascent that adapts its own step length (Croce & Hein 2020, algorithm 1)."""

from fractions import Fraction
from functools import lru_cache
from math import ceil
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from robustbench_wb.norms import L2_NORM, LINF, Norm
from robustbench_wb.stressors.attacks.active_rows import ActiveRows
from robustbench_wb.stressors.attacks.attack import Attack
from robustbench_wb.stressors.attacks.attack_losses import LOSSES, targeted_dlr
from robustbench_wb.stressors.attacks.model_queries import LossAndGradient, ModelQueries
from robustbench_wb.stressors.attacks.targeted import TargetedAttack

ALPHA = 0.75
"""Weight of the new step in the momentum update; the rest goes to the previous move."""
RHO = 0.75
"""Share of the steps between two checkpoints that must raise the loss."""


@lru_cache
def windows(steps: int) -> tuple[int, ...]:
    """For each step 0..steps: the number of steps since the previous checkpoint at a checkpoint, else -1.

    Checkpoints follow section 3 of the paper, with w_0 = 0.
    """
    found, last, share, gap = [-1] * (steps + 1), 0, Fraction(0), Fraction(22, 100)
    while share <= 1:
        place = ceil(share * steps)
        if found[place] < 0:
            found[place], last = place - last, place
        share, gap = share + gap, max(gap - Fraction(3, 100), Fraction(6, 100))
    return tuple(found)


def initialise(attack: Attack, batch: ActiveRows, seed: int) -> None:
    """Place rows at their starting points, with an empty history and step length 2 eps."""
    batch.x = attack.start(batch, seed)
    none = torch.full_like(batch.radius, -torch.inf).flatten()
    batch.memory |= {
        "previous": batch.x,
        "last": -none,
        "best": batch.x,
        "height": none,
        "slope": torch.zeros_like(batch.x),
        "stride": 2 * batch.radius,
        "rises": torch.zeros_like(none),
        "halved": torch.zeros_like(batch.step, dtype=torch.bool),
        "checked": none,
    }


def ascend(attack: Attack, batch: ActiveRows, answer: LossAndGradient) -> None:
    """Move every row from x^(k) to x^(k+1), given the loss and gradient at x^(k); rows may be at different k.

    Checkpoint conditions are tested once f(x^(k)) is known. If they hold, the step starts from x_max with the gradient
    stored there, so that returning to x_max costs no forward pass.
    """
    memory = batch.memory
    memory["rises"] = memory["rises"] + (answer.losses > memory["last"])
    higher = answer.losses > memory["height"]
    for name, value in (("best", batch.x), ("height", answer.losses), ("slope", answer.gradient)):
        batch.put(higher, name, value)
    back = _stuck(batch, attack.iterations)
    batch.put(back, "stride", memory["stride"] / 2)
    rows = back.view(-1, 1, 1, 1)
    x, gradient = torch.where(rows, memory["best"], batch.x), torch.where(rows, memory["slope"], answer.gradient)
    memory["last"] = torch.where(back, memory["height"], answer.losses)
    step = attack.project(batch, x + memory["stride"] * attack.norm.steepest_direction(gradient))
    blend = attack.project(batch, x + ALPHA * (step - x) + (1 - ALPHA) * (x - memory["previous"]))
    memory["previous"] = x
    batch.x = torch.where((batch.step == 0).view(-1, 1, 1, 1), step, blend)


def _stuck(batch: ActiveRows, steps: int) -> Tensor:
    """Mask of rows at a checkpoint that gained too little since the last one (conditions 1 and 2), bool (B,)."""
    memory = batch.memory
    window = torch.tensor(windows(steps), device=batch.step.device)[batch.step]
    due = window >= 0
    oscillates = memory["rises"] < RHO * window
    stalls = ~memory["halved"] & (memory["height"] == memory["checked"])
    stuck: Tensor = due & (oscillates | stalls)
    for name, value in (("halved", stuck), ("checked", memory["height"]), ("rises", torch.zeros_like(memory["rises"]))):
        batch.put(due, name, value)
    return stuck


class Apgd(Attack):
    """Auto-PGD on one loss, from uniform random starts in the ball."""

    steps: int = Field(default=100, ge=1)
    restarts: int = Field(default=1, ge=1)
    """Number of runs; a sample leaves at its first success."""
    loss: Literal["ce", "dlr", "margin"] = "ce"

    @property
    def iterations(self) -> int:
        """Gradient steps per run."""
        return self.steps

    @property
    def runs(self) -> int:
        """Runs per sample."""
        return self.restarts

    def begin(self, batch: ActiveRows, seed: int) -> None:
        """Start each row at a uniform draw from its ball."""
        initialise(self, batch, seed)

    def move(self, batch: ActiveRows, oracle: ModelQueries) -> None:
        """Take one step of algorithm 1."""
        ascend(self, batch, oracle.gradient(batch, LOSSES[self.loss]))


class ApgdLinf(Apgd):
    """APGD with signed gradients."""

    name: ClassVar[str] = "apgd-linf"
    norm: ClassVar[Norm] = LINF


class ApgdL2(Apgd):
    """APGD with normalised gradients."""

    name: ClassVar[str] = "apgd-l2"
    norm: ClassVar[Norm] = L2_NORM


class ApgdTargeted(TargetedAttack):
    """Auto-PGD on the targeted DLR loss, one target class per run, from uniform random starts."""

    def begin(self, batch: ActiveRows, seed: int) -> None:
        """Start each row at a uniform draw from its ball, with no target yet."""
        super().begin(batch, seed)
        initialise(self, batch, seed)

    def move(self, batch: ActiveRows, oracle: ModelQueries) -> None:
        """Take one step of algorithm 1 toward the row's target class."""
        targets = self.aim(batch, oracle)
        answer = oracle.gradient(batch, lambda logits, labels: targeted_dlr(logits, labels, targets))
        ascend(self, batch, answer)


class ApgdTargetedLinf(ApgdTargeted):
    """Targeted APGD with signed gradients."""

    name: ClassVar[str] = "apgd-t-linf"
    norm: ClassVar[Norm] = LINF


class ApgdTargetedL2(ApgdTargeted):
    """Targeted APGD with normalised gradients."""

    name: ClassVar[str] = "apgd-t-l2"
    norm: ClassVar[Norm] = L2_NORM
