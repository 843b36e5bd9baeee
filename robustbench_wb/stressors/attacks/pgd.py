"""PGD (Madry et al. 2018, eq. 3) in Linf, L2 and L1."""

from fractions import Fraction
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from robustbench_wb.norms import L1_NORM, L2_NORM, LINF, Norm
from robustbench_wb.spec import Exact
from robustbench_wb.stressors.attacks.active_rows import ActiveRows
from robustbench_wb.stressors.attacks.attack import Attack
from robustbench_wb.stressors.attacks.attack_losses import LOSSES, Loss
from robustbench_wb.stressors.attacks.fingerprints import NONE, fingerprints
from robustbench_wb.stressors.attacks.model_queries import ModelQueries


class Pgd(Attack):
    """Projected gradient ascent from the clean image or from uniform random points of the ball.

    ``loss=both`` runs the margin loss first and the cross-entropy on the samples that it left, each for every restart:
    the margin breaks more samples at small radii, the cross-entropy at large ones. Its very first run starts at the
    clean image, all others at random: some models break from the one and not from the other.
    """

    steps: int = Field(default=20, ge=1)
    step: Exact = Field(default=Fraction(1, 8), gt=0)
    """Step length as a share of eps. 1/8 at 20 steps is Madry's 2.5 eps / steps."""
    restarts: int = Field(default=1, ge=1)
    """Number of runs of each loss; a sample leaves at its first success."""
    loss: Literal["both", "ce", "margin", "dlr"] = "both"
    momentum: Exact | None = Field(default=None, ge=0)
    """Decay of the accumulated gradient, each term of L1 norm 1 (Dong et al. 2018, eq. 6); None: no momentum."""
    initial: Literal["image", "random"] | None = None
    """Starting point of the first run of each loss: the clean image or a random point; later restarts are random.
    None: the image for the margin loss of ``loss=both``, else a random point."""

    @property
    def iterations(self) -> int:
        """Gradient steps per run."""
        return self.steps

    @property
    def runs(self) -> int:
        """Runs per sample."""
        return self.restarts * len(self._losses)

    @property
    def _losses(self) -> tuple[str, ...]:
        return ("margin", "ce") if self.loss == "both" else (self.loss,)

    @property
    def _runs_from_image(self) -> int:
        """Number of runs that start at the clean image; they come first."""
        if self.initial is None:
            return 1 if self.loss == "both" else 0
        return len(self._losses) if self.initial == "image" else 0

    def _loss(self, batch: ActiveRows) -> Loss:
        """Loss of each row: losses alternate from run to run."""
        first, *rest = (LOSSES[name] for name in self._losses)
        if not rest:
            return first
        odd = batch.run % 2 == 1
        return lambda logits, labels: torch.where(odd, rest[0](logits, labels), first(logits, labels))

    def begin(self, batch: ActiveRows, seed: int) -> None:
        """Start each row at the clean image, or at a uniform draw from its ball, a function of (seed, parameters,
        sample id, run).

        Warm rows stay where they are.
        """
        at_image = (batch.run < self._runs_from_image) & ~batch.warm
        batch.x = torch.where(at_image.view(-1, 1, 1, 1), batch.originals, self.start(batch, seed))
        if self.momentum is not None:
            batch.memory["velocity"] = torch.zeros_like(batch.x)

    def move(self, batch: ActiveRows, oracle: ModelQueries) -> None:
        """Take one step along the gradient of the run's loss."""
        self.climb(batch, oracle.gradient(batch, self._loss(batch)).gradient)

    def climb(self, batch: ActiveRows, gradient: Tensor) -> None:
        """Move rows by step * eps along a gradient (B, C, H, W), then project."""
        if self.momentum is not None:
            size = gradient.abs().flatten(1).sum(1).clamp(min=1e-38).view(-1, 1, 1, 1)
            gradient = batch.memory["velocity"] = float(self.momentum) * batch.memory["velocity"] + gradient / size
        batch.x = self.project(
            batch, batch.x + float(self.step) * batch.radius * self.norm.steepest_direction(gradient)
        )


class PgdLinf(Pgd):
    """PGD under a bound on the largest pixel change."""

    name: ClassVar[str] = "pgd-linf"
    norm: ClassVar[Norm] = LINF

    stop: Literal["repeat"] | None = None
    """``repeat`` ends a run that returns to an iterate bit for bit: it would go round in a circle (Doldo et al. 2025,
    arXiv 2503.19347). None: every run takes all steps. Runs with momentum, and those on random models, do so anyway."""

    @property
    def stream(self) -> str:
        """Label of the attack's random stream. Runs that stop have the starts of those that take all steps."""
        return ";".join(part for part in super().stream.split(";") if not part.startswith("stop="))

    def begin(self, batch: ActiveRows, seed: int) -> None:
        """Start each row as PGD does, with no iterate seen."""
        super().begin(batch, seed)
        if self.stop is not None:
            batch.memory["seen"] = torch.full((len(batch), self.steps), NONE, device=batch.x.device)

    def move(self, batch: ActiveRows, oracle: ModelQueries) -> None:
        """Take one step along the gradient of the run's loss. A row that arrives where it has been ends its run."""
        if self.stop is None or self.momentum is not None or oracle.access.draws > 1:
            super().move(batch, oracle)
            return
        seen = batch.memory["seen"].scatter(1, batch.step[:, None], fingerprints(batch.x)[:, None])
        super().move(batch, oracle)
        batch.memory["seen"] = seen
        back = (seen == fingerprints(batch.x)[:, None]).any(1)
        batch.step = torch.where(back, self.steps - 1, batch.step)


class PgdL2(Pgd):
    """PGD under a bound on the Euclidean length."""

    name: ClassVar[str] = "pgd-l2"
    norm: ClassVar[Norm] = L2_NORM


class PgdL1(Pgd):
    """PGD under a bound on the sum of the changes, with sparse steps (Tramer & Boneh 2019, section 3)."""

    name: ClassVar[str] = "pgd-l1"
    norm: ClassVar[Norm] = L1_NORM
