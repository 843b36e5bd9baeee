"""Attacks on all pixels of a segmentation model at once: gradient ascent from several starts, worst image kept."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import ClassVar, Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from robustbench_wb.errors import MeasurementError
from robustbench_wb.models.segmentation_shape import SegmentationShape
from robustbench_wb.spec import Exact
from robustbench_wb.stressors.attacks.attack import BallBoundedStressor
from robustbench_wb.stressors.attacks.model_queries import TINY, value_and_gradient
from robustbench_wb.stressors.model_access import ModelAccess
from robustbench_wb.stressors.pixel_outcomes import count_pixels, image_ious
from robustbench_wb.stressors.sample_batch import PerturbedBatch, SampleBatch
from robustbench_wb.stressors.stressor import AttackKind


@dataclass(eq=False, kw_only=True)
class _Images:
    """Attacked images of one batch, and the worst that was found of each."""

    ids: Tensor
    clean: Tensor
    labels: Tensor
    worst: Tensor
    """Image with the smallest IoU so far, (B, C, H, W)."""
    iou: Tensor
    """Mean IoU of the worst image, float64 (B,)."""
    failed: Tensor
    """bool (B,): logits or gradient were not finite."""
    zero: Tensor
    """bool (B,): some input gradient was exactly zero in all entries."""
    tiny: Tensor
    """bool (B,): some input gradient was not zero, but smaller than ``TINY`` in all entries."""

    @classmethod
    def start(cls, ids: Tensor, clean: Tensor, labels: Tensor, *, warm: Tensor) -> Self:
        """Images of which nothing is known yet; ``warm`` holds the first candidates."""
        none = torch.zeros(len(ids), dtype=torch.bool, device=clean.device)
        unknown = torch.full((len(ids),), torch.inf, dtype=torch.float64, device=clean.device)
        return cls(
            ids=ids,
            clean=clean,
            labels=labels,
            worst=warm.clone(),
            iou=unknown,
            failed=none,
            zero=none.clone(),
            tiny=none.clone(),
        )

    def judge(self, images: Tensor, logits: Tensor) -> None:
        """Keep images with a smaller IoU than the worst so far. Logits that are not finite fail the image."""
        finite = torch.isfinite(logits).flatten(1).all(1)
        iou = image_ious(count_pixels(logits, self.labels))
        better = finite & (iou < self.iou)
        self.worst[better], self.iou[better] = images[better], iou[better]
        self.failed |= ~finite

    def note_gradient(self, gradient: Tensor) -> None:
        """Note gradients that vanish or are not finite."""
        self.failed |= ~torch.isfinite(gradient).flatten(1).all(1)
        largest = gradient.abs().flatten(1).amax(1)
        self.zero |= largest == 0
        self.tiny |= (largest > 0) & (largest < TINY)


class PixelAttack(BallBoundedStressor):
    """Base of attacks that try to make all pixels of an image wrong, inside a ball around the image.

    Every image is attacked with the whole budget, also one that is below the IoU of the task already, because mIoU
    counts all images. Of all iterates, and of the clean image, the one with the smallest mean IoU is the result. On a
    ladder of radii, the result of a smaller radius is a candidate at every larger one. So a larger radius, and more
    steps or runs with the same starts, never raise the IoU of an image.
    """

    kind: ClassVar[AttackKind | None] = "white-box"
    sweeps: ClassVar[bool] = True

    steps: int = Field(default=20, ge=1)
    """Gradient steps per run."""
    step: Exact = Field(default=Fraction(1, 8), gt=0)
    """Step length as a share of eps."""
    restarts: int = Field(default=1, ge=1)
    """Runs of each loss, each from a uniform draw from the ball."""

    def adversarial(self) -> bool:
        """Return False: all images are attacked at every strength, whatever their outcome at lower ones."""
        return False

    @property
    def runs(self) -> int:
        """Runs per image."""
        return self.restarts

    @property
    def passes(self) -> tuple[int, int]:
        """Forward passes and input gradients per image: of the runs, and of the clean image."""
        return self.runs * (self.steps + 1) + 1, self.runs * self.steps

    @property
    def stream(self) -> str:
        """Label of the random stream: the signature without the radius, so that a ladder shares its starts."""
        return ";".join(part for part in self.signature.split(";") if not part.startswith("eps="))

    @abstractmethod
    def loss(self, logits: Tensor, *, labels: Tensor, run: int, step: int) -> Tensor:
        """Return the losses (B,) that a run climbs at a step, both from 0; logits (B, K, H, W), labels (B, H, W)."""

    def apply(self, batch: SampleBatch, access: ModelAccess) -> PerturbedBatch:
        """Attack every image of the batch.

        Raises:
            MeasurementError: the task has no labels of pixels.
        """
        return self.sweep(batch, access, [self])[0]

    def sweep(self, batch: SampleBatch, access: ModelAccess, rungs: Sequence[Self]) -> list[PerturbedBatch]:
        """Attack every image at every radius of an ascending ladder.

        Raises:
            MeasurementError: the task has no labels of pixels.
        """
        if not isinstance(batch.shape, SegmentationShape):
            raise MeasurementError(f"{self.name} attacks labels of pixels, which the task does not have")
        found: list[list[_Images]] = [[] for _ in rungs]
        for part in torch.split(torch.arange(len(batch.ids), device=batch.ids.device), access.batch_size):
            warm = batch.inputs[part]
            for rung, results in zip(rungs, found, strict=True):
                results.append(rung._search(batch, part, access, warm=warm))
                warm = results[-1].worst
            access.advance(len(part))
        least = float(batch.shape.least_iou)
        return [rung._joined(batch, parts, access.draws, least=least) for rung, parts in zip(rungs, found, strict=True)]

    def _search(self, batch: SampleBatch, part: Tensor, access: ModelAccess, *, warm: Tensor) -> _Images:
        """Attack some images of a batch; ``warm`` holds the first candidates, which lie in the ball."""
        images = _Images.start(batch.ids[part], batch.inputs[part], batch.labels[part], warm=warm)
        images.judge(warm, access.predict(warm))
        for run in range(self.runs):
            self._climb(images, access, run, seed=batch.seed)
        return images

    def _climb(self, images: _Images, access: ModelAccess, run: int, *, seed: int) -> None:
        """Take the steps of one run from a random start."""
        shape = tuple(images.clean.shape[1:])
        noise = self.norm.uniform_in_ball(images.ids, shape, seed=seed, label=self.stream, step=run)
        current = self._project(images.clean, images.clean + self.radius * noise)
        for step in range(self.steps):
            loss = partial(self.loss, labels=images.labels, run=run, step=step)
            answer = value_and_gradient(access.model, current, loss, draws=access.draws)
            images.judge(current, answer.logits)
            images.note_gradient(answer.gradient)
            move = float(self.step) * self.radius * self.norm.steepest_direction(answer.gradient)
            current = self._project(images.clean, current + move)
        images.judge(current, access.predict(current))

    def _project(self, clean: Tensor, candidate: Tensor) -> Tensor:
        """Project candidates onto the balls around the clean images, then clamp them to the box."""
        radius = torch.full((len(clean), 1, 1, 1), self.radius, device=clean.device)
        return (clean + self.norm.project(candidate - clean, radius)).clamp(0.0, 1.0)

    def _joined(self, batch: SampleBatch, parts: Sequence[_Images], draws: int, *, least: float) -> PerturbedBatch:
        """Results of all parts of a batch; images below the IoU ``least`` are broken."""
        count, (forwards, backwards) = len(batch.ids), self.passes
        if not parts:
            parts = [_Images.start(batch.ids, batch.inputs, batch.labels, warm=batch.inputs)]
        broken, failed, zero, tiny = (
            torch.cat(each).cpu().numpy()
            for each in zip(*((one.iou < least, one.failed, one.zero, one.tiny) for one in parts), strict=True)
        )
        return PerturbedBatch(
            inputs=torch.cat([one.worst for one in parts]),
            forwards=np.full(count, forwards * draws, np.int32),
            backwards=np.full(count, backwards * draws, np.int32),
            broken=broken,
            failed=failed & ~broken,
            evidence={
                "samples": count,
                "gradients": count,
                "zero_gradients": int(zero.sum()),
                "tiny_gradients": int(tiny.sum()),
            },
        )
