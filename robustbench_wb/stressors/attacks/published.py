"""The attacks of a group of papers on robust attention, as their public code runs them: not a sound protocol.

Elliptical Attention, RPC-Attention and the robust-KDE transformers share one evaluation: FGSM, PGD and SPSA with the
settings below, called on images that the data loader has normalised. Four things set it apart:

- eps is in units of the channel's standard deviation: with ImageNet's, 1/255 is about 0.22/255 in pixels;
- nothing keeps the image in the range of pixels;
- no labels are given, so that each sample is attacked on the model's own prediction: a wrong one may become right;
- the last iterate counts, not the first that succeeds.

Rows carry the protocol ``as-published``. Quote them beside numbers of those papers, and for nothing else.
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
from robustbench_wb.models.inputs import batches
from robustbench_wb.models.normalisation import Normalised
from robustbench_wb.norms import LINF
from robustbench_wb.spec import Exact
from robustbench_wb.stressors.attacks.attack import TOLERANCE
from robustbench_wb.stressors.attacks.losses import margin
from robustbench_wb.stressors.protocol import ProtocolName
from robustbench_wb.stressors.stressor import PerturbedBatch, SampleBatch, Stressor


@dataclass(frozen=True, eq=False)
class Victims:
    """A batch of normalised images with the labels that the model itself gives them."""

    model: Normalised
    images: Tensor
    """(B, C, H, W), normalised."""
    ids: Tensor
    seed: int
    batch: int
    """Largest number of images in one forward pass."""
    labels: Tensor
    """int64 (B,), the model's own predictions."""

    def gradient(self, images: Tensor) -> Tensor:
        """Of each sample's cross-entropy with its own label, in the normalised image: (B, C, H, W)."""
        with torch.enable_grad():
            variable = images.detach().requires_grad_(True)
            loss = F.cross_entropy(self.model.logits(variable), self.labels, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, variable)
        return gradient

    def margins(self, images: Tensor) -> Tensor:
        """Logit of the own label minus the largest other one, (B, K), of images (B, K, C, H, W)."""
        parts = torch.split(images.flatten(0, 1), self.batch)
        logits = torch.cat([self.model.logits(part) for part in parts])
        return -margin(logits, self.labels.repeat_interleave(images.shape[1])).view(images.shape[:2])


class Published(Stressor):
    """An attack in the Linf ball around the normalised image, on the model's own label, without a box."""

    axis: ClassVar[str | None] = "eps"
    protocol: ClassVar[ProtocolName] = "as-published"

    eps: Exact = Field(gt=0)
    """Radius of the ball, an exact fraction; unit: the standard deviation of the channel that the model divides by."""

    @property
    @abstractmethod
    def passes(self) -> tuple[int, int]:
        """Forward passes and input gradients spent on every sample; the own label takes one forward pass."""

    @abstractmethod
    def perturb(self, victims: Victims) -> Tensor:
        """The perturbation of normalised images (B, C, H, W), NaN in samples that cannot be searched on."""

    def together(self, batch: int) -> int:
        """Samples attacked at once, when a forward pass may hold ``batch`` images."""
        return batch

    @torch.no_grad()
    def apply(self, job: SampleBatch) -> PerturbedBatch:
        """Attack every sample of the job; its labels are not looked at.

        Raises:
            MeasurementError: the normalisation inside the model is not known, or an image left its ball.
        """
        model = Normalised.of(job.model, job.inputs)
        found = job.inputs.clone()
        failed = torch.zeros(len(found), dtype=torch.bool, device=found.device)
        for rows, images in batches(job.inputs, self.together(job.batch)):
            clean = model.enter(images)
            labels = model.logits(clean).argmax(1)
            delta = self.perturb(Victims(model, clean, job.ids[rows], job.seed, job.batch, labels))
            failed[rows] = ~torch.isfinite(delta).flatten(1).all(1)
            delta[failed[rows]] = 0.0
            found[rows] = model.leave(clean + delta).to(found.dtype)
            job.advance(len(images))
        self._refuse_outside(job.inputs, found, model.std)
        forwards, backwards = (np.full(len(found), count, np.int32) for count in self.passes)
        return PerturbedBatch(found, forwards, backwards, failed=failed.cpu().numpy())

    def _refuse_outside(self, clean: Tensor, found: Tensor, std: Tensor) -> None:
        """Check the ball in normalised units. It is done here, where those are known; a box there is not."""
        excess = (found - clean).abs() - float(self.eps) * std
        if bool((excess > TOLERANCE).any()):
            raise MeasurementError(f"{self.signature} left its ball by {float(excess.max()):.6g} in pixels")

    def start(self, victims: Victims) -> Tensor:
        """A uniform draw from the ball, a function of (seed, signature, sample id)."""
        images = victims.images
        unit = LINF.inside(victims.ids, tuple(images.shape[1:]), victims.seed, self.signature, 0)
        return float(self.eps) * unit.to(images.dtype)


class PublishedFgsm(Published):
    """``z + eps sign(grad)``: FGSM (Goodfellow et al. 2015, eq. 1) on the normalised image z."""

    name: ClassVar[str] = "published-fgsm-linf"

    @property
    def passes(self) -> tuple[int, int]:
        """The label and one gradient."""
        return 2, 1

    def perturb(self, victims: Victims) -> Tensor:
        """One step from the image itself."""
        return float(self.eps) * _sign(victims.gradient(victims.images))


class PublishedPgd(Published):
    """PGD (Madry et al. 2018, eq. 3) on the normalised image: one random start, 20 steps of 0.15 eps, last iterate."""

    name: ClassVar[str] = "published-pgd-linf"

    steps: int = Field(default=20, ge=1)
    step: Exact = Field(default=Fraction(3, 20), gt=0)
    """Step length as a share of eps."""

    @property
    def passes(self) -> tuple[int, int]:
        """The label, and one gradient a step."""
        return 1 + self.steps, self.steps

    def perturb(self, victims: Victims) -> Tensor:
        """All steps: nothing stops at a success."""
        eps, length = float(self.eps), float(self.step * self.eps)
        delta = self.start(victims)
        for _ in range(self.steps):
            delta = (delta + length * _sign(victims.gradient(victims.images + delta))).clamp(-eps, eps)
        return delta


class PublishedSpsa(Published):
    """SPSA (Uesato et al. 2018) with the defect of the library's version that those papers called.

    A random start in the ball, then Adam (Kingma & Ba 2015) on the perturbation d, downward on the margin of the own
    label, projected after each step. Spall's estimate (1992) should be taken at z + d, from pairs of probes
    z + d +- delta s with random signs s. The code hands its estimator the image z where the perturbation d belongs,
    and the loss adds z again: the probes are **2 z +- delta s**. So every step follows the slope at an image of twice
    the contrast, whatever d is: the search never learns where it stands. Its numbers are no evidence of robustness.
    """

    name: ClassVar[str] = "published-spsa"

    steps: int = Field(default=40, ge=1)
    samples: int = Field(default=128, ge=1)
    """Random directions per step; each gives two probes."""
    delta: Exact = Field(default=Fraction(1, 100), gt=0)
    """Distance of the probes per value."""
    learning_rate: Exact = Field(default=Fraction(1, 100), gt=0)

    @property
    def passes(self) -> tuple[int, int]:
        """The label, and two probes per direction and step."""
        return 1 + self.steps * 2 * self.samples, 0

    def together(self, batch: int) -> int:
        """As many samples as have their probes in one forward pass; a single one's are split."""
        return max(1, batch // (2 * self.samples))

    def perturb(self, victims: Victims) -> Tensor:
        """All steps: nothing stops at a success."""
        delta = self.start(victims)
        adam = torch.optim.Adam([delta], lr=float(self.learning_rate))
        for step in range(self.steps):
            delta.grad = self.estimate(victims, step)
            adam.step()
            delta.clamp_(-float(self.eps), float(self.eps))
        return delta

    def estimate(self, victims: Victims, step: int) -> Tensor:
        """The slope (B, C, H, W) of the margin at twice the normalised image, whatever the perturbation is."""
        z, width = victims.images, float(self.delta)
        shape = (self.samples, *z.shape[1:])
        uniform = rng.uniform(victims.ids, shape, victims.seed, f"{self.signature}/probes", step)
        signs = torch.where(uniform < 0.5, -1.0, 1.0).to(z.dtype)
        signs = torch.cat([signs, -signs], 1)
        margins = victims.margins(2 * z[:, None] + width * signs)
        return (margins[:, :, None, None, None] * signs).mean(1) / width


def _sign(gradient: Tensor) -> Tensor:
    """The sign; NaN where the gradient is not finite, of which torch says 0: a search that failed must show."""
    return torch.where(torch.isfinite(gradient), gradient.sign(), torch.nan)
