"""Attacks as some papers on robust attention run them in their public code: not a sound protocol.

Elliptical Attention, RPC-Attention and the robust-KDE transformers share one evaluation: FGSM, PGD and SPSA with the
settings below, applied to images that the data loader has normalised. Four properties differ from the sound protocol:

- eps is in units of the channel's standard deviation: with that of ImageNet, 1/255 is about 0.22/255 in pixels;
- images are not clamped to the pixel range;
- no labels are given, so each sample is attacked on the model's own prediction: a wrong prediction may become right;
- the last iterate counts, not the first error.

Rows carry the protocol ``as-published``. Compare them with numbers of those papers only.
"""

from abc import abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.errors import MeasurementError
from robustbench_wb.models.batching import batches
from robustbench_wb.models.normalisation import NormalisedImageModel
from robustbench_wb.norms import LINF
from robustbench_wb.spec import Exact
from robustbench_wb.stressors.attacks.attack import TOLERANCE
from robustbench_wb.stressors.attacks.attack_losses import margin
from robustbench_wb.stressors.model_access import ModelAccess
from robustbench_wb.stressors.protocol import ProtocolName
from robustbench_wb.stressors.sample_batch import PerturbedBatch, SampleBatch
from robustbench_wb.stressors.stressor import Stressor


@dataclass(frozen=True, eq=False, kw_only=True)
class SelfLabelledBatch:
    """A batch of normalised images with the labels that the model itself predicts for them."""

    model: NormalisedImageModel
    images: Tensor
    """float32 (B, C, H, W), normalised."""
    ids: Tensor
    seed: int
    batch_size: int
    """Largest number of images in one forward pass."""
    labels: Tensor
    """int64 (B,), the model's own predictions."""

    def gradient(self, images: Tensor) -> Tensor:
        """Gradient of each sample's cross-entropy with its predicted label, at normalised images: (B, C, H, W)."""
        with torch.enable_grad():
            variable = images.detach().requires_grad_(True)
            loss = F.cross_entropy(self.model.logits(variable), self.labels, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, variable)
        return gradient

    def margins(self, images: Tensor) -> Tensor:
        """Logit of the predicted label minus the largest other one, (B, K), for images (B, K, C, H, W)."""
        parts = torch.split(images.flatten(0, 1), self.batch_size)
        logits = torch.cat([self.model.logits(part) for part in parts])
        return -margin(logits, self.labels.repeat_interleave(images.shape[1])).view(images.shape[:2])


class PublishedAttack(Stressor):
    """Base of attacks in the Linf ball around the normalised image, on the model's own prediction, without a box."""

    axis: ClassVar[str | None] = "eps"
    protocol: ClassVar[ProtocolName] = "as-published"

    eps: Exact = Field(gt=0)
    """Radius of the ball, an exact fraction; unit: the standard deviation by which the model divides the channel."""

    @property
    @abstractmethod
    def passes(self) -> tuple[int, int]:
        """Forward passes and input gradients per sample; predicting the label takes one forward pass."""

    @abstractmethod
    def perturb(self, victims: SelfLabelledBatch) -> Tensor:
        """Perturbations (B, C, H, W) of normalised images; NaN for samples whose gradients are not finite."""

    def samples_at_once(self, batch_size: int) -> int:
        """Number of samples attacked at once when one forward pass may hold ``batch_size`` images."""
        return batch_size

    @torch.no_grad()
    def apply(self, batch: SampleBatch, access: ModelAccess) -> PerturbedBatch:
        """Attack every sample of the batch; true labels are not used.

        Raises:
            MeasurementError: the normalisation inside the model is not known, or an image left its ball.
        """
        model = NormalisedImageModel.of(access.model, batch.inputs)
        found = batch.inputs.clone()
        failed = torch.zeros(len(found), dtype=torch.bool, device=found.device)
        for rows, images in batches(batch.inputs, self.samples_at_once(access.batch_size)):
            clean = model.enter(images)
            labels = model.logits(clean).argmax(1)
            victims = SelfLabelledBatch(
                model=model,
                images=clean,
                ids=batch.ids[rows],
                seed=batch.seed,
                batch_size=access.batch_size,
                labels=labels,
            )
            delta = self.perturb(victims)
            failed[rows] = ~torch.isfinite(delta).flatten(1).all(1)
            delta[failed[rows]] = 0.0
            found[rows] = model.leave(clean + delta).to(found.dtype)
            access.advance(len(images))
        self._refuse_outside(batch.inputs, found, model.std)
        forwards, backwards = (np.full(len(found), count, np.int32) for count in self.passes)
        return PerturbedBatch(inputs=found, forwards=forwards, backwards=backwards, failed=failed.cpu().numpy())

    def _refuse_outside(self, clean: Tensor, found: Tensor, std: Tensor) -> None:
        """Check the ball in normalised units, which are known only here; this protocol has no box to check."""
        excess = (found - clean).abs() - float(self.eps) * std
        if bool((excess > TOLERANCE).any()):
            raise MeasurementError(f"{self.signature} left its ball by {float(excess.max()):.6g} in pixels")

    def start(self, victims: SelfLabelledBatch) -> Tensor:
        """A uniform draw from the ball, a function of (seed, signature, sample id)."""
        images = victims.images
        unit = LINF.uniform_in_ball(
            victims.ids, tuple(images.shape[1:]), seed=victims.seed, label=self.signature, step=0
        )
        return float(self.eps) * unit.to(images.dtype)


class PublishedFgsm(PublishedAttack):
    """``z + eps sign(grad)``: FGSM (Goodfellow et al. 2015, eq. 1) on the normalised image z."""

    name: ClassVar[str] = "published-fgsm-linf"

    @property
    def passes(self) -> tuple[int, int]:
        """Two forward passes (label and gradient) and one gradient."""
        return 2, 1

    def perturb(self, victims: SelfLabelledBatch) -> Tensor:
        """Take one step from the clean image."""
        return float(self.eps) * _sign(victims.gradient(victims.images))


class PublishedPgd(PublishedAttack):
    """PGD (Madry et al. 2018, eq. 3) on the normalised image: one random start, 20 steps of 0.15 eps, last iterate."""

    name: ClassVar[str] = "published-pgd-linf"

    steps: int = Field(default=20, ge=1)
    step: Exact = Field(default=Fraction(3, 20), gt=0)
    """Step length as a share of eps."""

    @property
    def passes(self) -> tuple[int, int]:
        """One forward pass for the label, then one forward pass and one gradient per step."""
        return 1 + self.steps, self.steps

    def perturb(self, victims: SelfLabelledBatch) -> Tensor:
        """Take all steps, without early stopping."""
        eps, length = float(self.eps), float(self.step * self.eps)
        delta = self.start(victims)
        for _ in range(self.steps):
            delta = (delta + length * _sign(victims.gradient(victims.images + delta))).clamp(-eps, eps)
        return delta


class PublishedSpsa(PublishedAttack):
    """SPSA (Uesato et al. 2018) with the defect of the library version that those papers called.

    The attack starts at a random point of the ball and runs Adam (Kingma & Ba 2015) on the perturbation d, downward on
    the margin of the predicted label, with a projection after each step. Spall's estimate (1992) should be taken at z +
    d, from pairs of probes z + d +- delta s with random signs s. The code passes the image z to its estimator where the
    perturbation d belongs, and the loss adds z again: the probes are **2 z +- delta s**. Every step therefore follows
    the slope at an image of twice the contrast, whatever d is. Its numbers are no evidence of robustness.
    """

    name: ClassVar[str] = "published-spsa"

    steps: int = Field(default=40, ge=1)
    samples: int = Field(default=128, ge=1)
    """Random directions per step; each gives two probes."""
    delta: Exact = Field(default=Fraction(1, 100), gt=0)
    """Distance between the image and each probe, per value."""
    learning_rate: Exact = Field(default=Fraction(1, 100), gt=0)

    @property
    def passes(self) -> tuple[int, int]:
        """One forward pass for the label, and two probes per direction and step; no gradient."""
        return 1 + self.steps * 2 * self.samples, 0

    def samples_at_once(self, batch_size: int) -> int:
        """Number of samples whose probes fit in one forward pass, at least one; probes of one sample may be split."""
        return max(1, batch_size // (2 * self.samples))

    def perturb(self, victims: SelfLabelledBatch) -> Tensor:
        """Take all steps, without early stopping."""
        delta = self.start(victims)
        adam = torch.optim.Adam([delta], lr=float(self.learning_rate))
        for step in range(self.steps):
            delta.grad = self.estimate(victims, step)
            adam.step()
            delta.clamp_(-float(self.eps), float(self.eps))
        return delta

    def estimate(self, victims: SelfLabelledBatch, step: int) -> Tensor:
        """Estimated slope (B, C, H, W) of the margin at twice the normalised image, independent of the perturbation."""
        z, width = victims.images, float(self.delta)
        shape = (self.samples, *z.shape[1:])
        uniform = rng.uniform(victims.ids, shape, seed=victims.seed, label=f"{self.signature}/probes", step=step)
        signs = torch.where(uniform < 0.5, -1.0, 1.0).to(z.dtype)
        signs = torch.cat([signs, -signs], 1)
        margins = victims.margins(2 * z[:, None] + width * signs)
        return (margins[:, :, None, None, None] * signs).mean(1) / width


def _sign(gradient: Tensor) -> Tensor:
    """Sign of the gradient; NaN where it is not finite. torch gives 0 there, which would hide a failed search."""
    return torch.where(torch.isfinite(gradient), gradient.sign(), torch.nan)
