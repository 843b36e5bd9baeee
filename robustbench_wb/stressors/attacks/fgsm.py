"""FGSM (Goodfellow, Shlens & Szegedy 2015, eq. 1) in Linf and L2."""

from typing import ClassVar

from robustbench_wb.norms import L2_NORM, LINF, Norm
from robustbench_wb.stressors.attacks.active_rows import ActiveRows
from robustbench_wb.stressors.attacks.attack import Attack
from robustbench_wb.stressors.attacks.attack_losses import LOSSES
from robustbench_wb.stressors.attacks.model_queries import ModelQueries


class Fgsm(Attack):
    """One step of length eps along the steepest direction of the cross-entropy, from the clean image."""

    kind = "single-step"

    def begin(self, batch: ActiveRows, seed: int) -> None:
        """Start at the clean image."""
        batch.x = batch.originals

    def move(self, batch: ActiveRows, oracle: ModelQueries) -> None:
        """Take one step of length eps."""
        gradient = oracle.gradient(batch, LOSSES["ce"]).gradient
        batch.x = self.project(batch, batch.x + batch.radius * self.norm.steepest_direction(gradient))


class FgsmLinf(Fgsm):
    """FGSM in Linf: x + eps sign(grad)."""

    name: ClassVar[str] = "fgsm-linf"
    norm: ClassVar[Norm] = LINF


class FgsmL2(Fgsm):
    """FGSM in L2: x + eps grad / |grad|."""

    name: ClassVar[str] = "fgsm-l2"
    norm: ClassVar[Norm] = L2_NORM
