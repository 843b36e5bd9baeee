"""The probe of a subject of images: PGD against the square attack."""

from fractions import Fraction
from typing import ClassVar

from torch import Tensor, nn

from robustbench_wb.engine.credibility.probe import Probe, flags
from robustbench_wb.engine.doctor.gradients import inside_box
from robustbench_wb.stressors.attacks.batch import Batch
from robustbench_wb.stressors.attacks.losses import Loss, cross_entropy, margin
from robustbench_wb.stressors.attacks.oracle import TINY, value_and_gradient
from robustbench_wb.stressors.attacks.pgd import PgdLinf
from robustbench_wb.stressors.attacks.square import SquareLinf
from robustbench_wb.stressors.stressor import Job, Stressed

WHOLE_RANGE = Fraction(1)
"""A ball of this Linf radius holds every image."""


class Straight(PgdLinf):
    """PGD from the image itself."""

    name: ClassVar[str] = "pgd-straight-linf"

    def begin(self, batch: Batch, seed: int) -> None:
        """At the image."""
        batch.x = batch.originals


class ImageProbe(Probe):
    """In pixels, radii in units of their range."""

    name: ClassVar[str] = "credibility-probe"

    def straight(self, job: Job) -> Stressed:
        """From the image, on both losses."""
        return Straight(eps=WHOLE_RANGE, steps=self.steps, step=Fraction(1, 8)).apply(job)

    def climb(self, job: Job) -> Stressed:
        """From a random start, on both losses."""
        return PgdLinf(eps=self.eps, steps=self.steps, step=Fraction(1, 8)).apply(job)

    def black_box(self, job: Job) -> int:
        """The square attack."""
        return int(flags(SquareLinf(eps=self.eps, queries=self.queries).apply(job).broken, job).sum())

    def blind(self, job: Job) -> dict[str, int]:
        """At the images."""
        return {"blind_ce": _blind(job, cross_entropy), "blind_margin": _blind(job, margin)}

    def sloped(self, job: Job) -> tuple[nn.Module, Tensor]:
        """The model, at images inside the box."""
        return job.model, inside_box(job.inputs)


def _blind(job: Job, loss: Loss) -> int:
    answer = value_and_gradient(job.model, job.inputs, lambda logits: loss(logits, job.labels))
    return int((answer.gradient.abs().flatten(1).amax(1) < TINY).sum())
