"""Universal perturbation: one perturbation for all samples (Moosavi-Dezfooli et al. 2017), and its random control."""

from fractions import Fraction
from typing import ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, PrivateAttr
from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.errors import MeasurementError
from robustbench_wb.norms import LINF, Norm
from robustbench_wb.spec import Exact
from robustbench_wb.stressors.attacks.attack import BallBoundedStressor
from robustbench_wb.stressors.attacks.model_queries import value_and_gradient
from robustbench_wb.stressors.fitted_stressor import FittedStressor
from robustbench_wb.stressors.model_access import ModelAccess
from robustbench_wb.stressors.sample_batch import PerturbedBatch, SampleBatch
from robustbench_wb.stressors.stressor import AttackKind


class UniversalStressor(BallBoundedStressor):
    """Base of stressors that add one perturbation of Linf norm eps to every image, then clamp to the box [0, 1].

    They do not look at the evaluated samples. Each strength is independent and gets all samples, because samples that
    a smaller perturbation breaks may withstand a larger one.
    """

    norm: ClassVar[Norm] = LINF

    @property
    def threat(self) -> tuple[str, str]:
        """Threat model of its own: attacks that choose a perturbation for each sample are stronger."""
        return ("universal linf", self.strength)

    @property
    def passes(self) -> tuple[int, int] | None:
        """Unknown beforehand (None): passes are spent on training samples."""
        return None

    def adversarial(self) -> bool:
        """Return False: strengths are independent, see the class."""
        return False

    def add(self, batch: SampleBatch, perturbation: Tensor, access: ModelAccess) -> PerturbedBatch:
        """Batch with the perturbation (1, C, H, W) added to every image."""
        access.advance(len(batch.ids))
        none = np.zeros(len(batch.ids), np.int32)
        inputs = (batch.inputs + perturbation).clamp(0.0, 1.0)
        return PerturbedBatch(inputs=inputs, forwards=none, backwards=none.copy())


class UniversalLinf(UniversalStressor, FittedStressor):
    """Projected ascent on training samples by signs of summed gradients (Shafahi et al. 2020, arXiv 1811.11304,
    algorithm 1 without training the model).

    The loss is the cross-entropy, clipped per sample at ``clip`` nats, so that samples that are wrong by far have no
    more influence (section 3, equation 5). The perturbation starts at 0, and each step moves it by step * eps.
    """

    name: ClassVar[str] = "universal-linf"
    kind: ClassVar[AttackKind | None] = "white-box"

    samples: int = Field(default=512, ge=1)
    """Training samples, drawn at random; all of a smaller training split."""
    epochs: int = Field(default=10, ge=1)
    """Passes over the training samples."""
    batch: int = Field(default=32, ge=1)
    """Training samples per step."""
    step: Exact = Field(default=Fraction(1, 8), gt=0)
    """Step length as a share of eps."""
    clip: Exact = Field(default=Fraction(9), gt=0)
    """Largest loss of a sample in nats."""
    _perturbation: Tensor | None = PrivateAttr(default=None)

    @property
    def fitting_samples(self) -> int:
        """Number of training samples."""
        return self.samples

    def fit(self, inputs: Tensor, labels: Tensor, access: ModelAccess, *, seed: int) -> Self:
        """Find the perturbation.

        Raises:
            MeasurementError: a gradient is not finite.
        """
        perturbation = torch.zeros_like(inputs[:1])
        for epoch in range(self.epochs):
            order = rng.permutation(len(inputs), seed, self.name, epoch).to(inputs.device)
            for rows in torch.split(order, self.batch):
                perturbation = self._climb(perturbation, inputs[rows], labels[rows], access=access)
        found = self.model_copy()
        found._perturbation = perturbation
        return found

    def _climb(self, perturbation: Tensor, images: Tensor, labels: Tensor, *, access: ModelAccess) -> Tensor:
        """Take one step from a perturbation (1, C, H, W) on some images (B, C, H, W)."""

        def loss(logits: Tensor) -> Tensor:
            return F.cross_entropy(logits, labels, reduction="none").clamp(max=float(self.clip))

        perturbed = (images + perturbation).clamp(0.0, 1.0)
        gradient = value_and_gradient(access.model, perturbed, loss, draws=access.draws).gradient.sum(0, keepdim=True)
        if not bool(torch.isfinite(gradient).all()):
            raise MeasurementError(f"{self.name}: the gradient at training samples is not finite")
        direction = self.norm.steepest_direction(gradient)
        return self.norm.project(
            perturbation + float(self.step) * self.radius * direction, perturbation.new_tensor(self.radius)
        )

    def apply(self, batch: SampleBatch, access: ModelAccess) -> PerturbedBatch:
        """Add the fitted perturbation.

        Raises:
            MeasurementError: the attack was not fitted.
        """
        if self._perturbation is None:
            raise MeasurementError(f"{self.name} must be fitted to training samples first")
        return self.add(batch, self._perturbation, access)


class UniversalNoiseLinf(UniversalStressor):
    """One random sign vector of length eps for all samples: control of universal perturbations."""

    name: ClassVar[str] = "universal-noise-linf"
    kind: ClassVar[AttackKind | None] = "control"

    @property
    def threat(self) -> tuple[str, str]:
        """Threat model of its own: a random perturbation may break samples that withstand the fitted one."""
        return ("random universal linf", self.strength)

    @property
    def passes(self) -> tuple[int, int]:
        """No pass."""
        return 0, 0

    def apply(self, batch: SampleBatch, access: ModelAccess) -> PerturbedBatch:
        """Add the random perturbation, a function of the seed and the shape of the images."""
        first = torch.zeros(1, dtype=torch.int64, device=batch.inputs.device)
        signs = rng.signs(first, tuple(batch.inputs.shape[1:]), seed=batch.seed, label=self.name)
        return self.add(batch, self.radius * signs, access)
