"""The probe of a subject of images: PGD against the square attack."""

from fractions import Fraction
from typing import ClassVar

from torch import Tensor, nn

from robustbench_wb.engine.credibility.probe import Probe, flags
from robustbench_wb.engine.doctor.gradient_checks import inside_box
from robustbench_wb.stressors.attacks.active_rows import ActiveRows
from robustbench_wb.stressors.attacks.attack_losses import Loss
from robustbench_wb.stressors.attacks.model_queries import value_and_gradient
from robustbench_wb.stressors.attacks.pgd import PgdLinf
from robustbench_wb.stressors.attacks.square import SquareLinf
from robustbench_wb.stressors.stressor import SampleBatch


class ProbePgd(PgdLinf):
    """PGD from the image itself."""

    name: ClassVar[str] = "pgd-straight-linf"

    def begin(self, batch: ActiveRows, seed: int) -> None:
        """At the image."""
        batch.x = batch.originals


class ImageProbe(Probe):
    """In pixels, radii in units of their range."""

    name: ClassVar[str] = "credibility-probe"

    attack = PgdLinf
    straight = ProbePgd
    large = Fraction(1)

    def black_box(self, job: SampleBatch) -> int:
        """The square attack."""
        return int(flags(SquareLinf(eps=self.eps, queries=self.queries).apply(job).broken, job).sum())

    def gradient(self, job: SampleBatch, loss: Loss) -> Tensor:
        """In the pixels."""
        return value_and_gradient(job.model, job.inputs, lambda logits: loss(logits, job.labels)).gradient

    def sloped(self, job: SampleBatch) -> tuple[nn.Module, Tensor]:
        """The model, at images inside the box."""
        return job.model, inside_box(job.inputs)
