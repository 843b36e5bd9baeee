"""Probe of an image model: PGD against the Square attack."""

from fractions import Fraction
from functools import partial
from typing import ClassVar

from torch import Tensor, nn

from robustbench_wb.engine.credibility.probe import Probe, broken_flags
from robustbench_wb.engine.doctor.gradient_checks import inside_box
from robustbench_wb.stressors.attacks.attack_losses import Loss
from robustbench_wb.stressors.attacks.model_queries import value_and_gradient
from robustbench_wb.stressors.attacks.pgd import PgdLinf
from robustbench_wb.stressors.attacks.square import SquareLinf
from robustbench_wb.stressors.model_access import ModelAccess
from robustbench_wb.stressors.sample_batch import SampleBatch


class ImageProbe(Probe):
    """Probe of an image model. Radii are in units of the pixel range."""

    name: ClassVar[str] = "credibility-probe"

    random_start = staticmethod(partial(PgdLinf, initial="random"))
    clean_start = staticmethod(partial(PgdLinf, initial="image"))
    large_radius = Fraction(1)

    def count_broken_by_black_box(self, batch: SampleBatch, access: ModelAccess) -> int:
        """Number of samples that the Square attack breaks."""
        return int(
            broken_flags(SquareLinf(eps=self.eps, queries=self.queries).apply(batch, access).broken, batch).sum()
        )

    def loss_gradient(self, batch: SampleBatch, access: ModelAccess, loss: Loss) -> Tensor:
        """Gradient of each sample's loss with respect to its pixels, (N, C, H, W)."""
        return value_and_gradient(access.model, batch.inputs, lambda logits: loss(logits, batch.labels)).gradient

    def differentiable(self, batch: SampleBatch, access: ModelAccess) -> tuple[nn.Module, Tensor]:
        """The model, and the images shrunk to the inside of the box [0, 1]."""
        return access.model, inside_box(batch.inputs)
