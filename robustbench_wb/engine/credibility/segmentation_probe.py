"""Probe of a segmentation model: gradient steps against a random search over squares, on all pixels of an image."""

from collections import Counter
from functools import partial
from typing import ClassVar, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robustbench_wb import rng
from robustbench_wb.engine.credibility.image_probe import ImageProbe
from robustbench_wb.engine.credibility.probe import SLOPE_SAMPLES
from robustbench_wb.engine.doctor.gradient_checks import inside_box
from robustbench_wb.errors import MeasurementError
from robustbench_wb.models.segmentation_shape import VOID, SegmentationShape
from robustbench_wb.norms import LINF
from robustbench_wb.stressors.attacks.attack_losses import LOSSES, Loss, cross_entropy, margin
from robustbench_wb.stressors.attacks.model_queries import TINY, value_and_gradient
from robustbench_wb.stressors.attacks.square import HALVINGS
from robustbench_wb.stressors.model_access import ModelAccess
from robustbench_wb.stressors.pixel_outcomes import count_pixels, image_ious
from robustbench_wb.stressors.sample_batch import SampleBatch

STEP: Final = 1 / 8
"""Length of a gradient step as a share of the radius."""
SHARE: Final = 0.8
"""Share of the image that the first square covers, as in the Square attack."""


def right_margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Margin loss of right pixels, at most 0; wrong pixels do not pull any more."""
    return margin(logits, labels).clamp(max=0)


class SegmentationProbe(ImageProbe):
    """Probe of a segmentation model. An image is broken below the mean IoU from which the task counts it as correct.

    Gradient steps climb the cross-entropy and, in another run, the margin of the right pixels.
    """

    name: ClassVar[str] = "segmentation-probe"

    def _evidence(self, batch: SampleBatch, access: ModelAccess) -> dict[str, float]:
        """Numbers of images and flags (0 or 1), by the names that records store."""
        found: Counter[str] = Counter()
        for part in torch.split(
            torch.arange(len(batch.ids)), access.batch_size
        ):  # logits of all pixels fill the memory
            chosen = np.isin(np.arange(len(batch.ids)), part.numpy())
            found.update(self._counts(batch.select(chosen), access))
        first = batch.select(np.arange(len(batch.ids)) < min(SLOPE_SAMPLES, access.batch_size))
        logits = access.predict(first.inputs)
        is_simplex = (logits.sum(1) - 1).abs().amax() < 1e-5
        return {
            "probed": len(batch.ids),
            "random": float(access.draws > 1),
            "probabilities": float(is_simplex and logits.amin() > -1e-5 and logits.amax() < 1 + 1e-5),
            **found,
            **self._slope_evidence(batch, access),
        }

    def _counts(self, batch: SampleBatch, access: ModelAccess) -> dict[str, int]:
        far, near = (
            self._broken_by_gradient(batch, access, radius=radius, random=random)
            for radius, random in ((float(self.large_radius), False), (float(self.eps), True))
        )
        blind = {
            f"blind_{name}": int(
                (self.loss_gradient(batch, access, LOSSES[name]).abs().flatten(1).amax(1) < TINY).sum()
            )
            for name in ("ce", "margin")
        }
        missed = 0 if near.all() else self.count_broken_by_black_box(batch.select(~near), access)
        return {"large_ball_held": int((~far).sum()), "black_box_only": missed, **blind}

    def _broken_by_gradient(
        self, batch: SampleBatch, access: ModelAccess, *, radius: float, random: bool
    ) -> NDArray[np.bool_]:
        """Whether gradient steps of one of the two losses break each image, bool (N,).

        Args:
            batch: the images.
            access: the model.
            radius: Linf radius of the ball.
            random: whether to start at a uniform draw from the ball; else at the image.
        """
        broken = torch.zeros(len(batch.ids), dtype=torch.bool, device=batch.ids.device)
        for run, loss in enumerate((cross_entropy, right_margin)):
            current = batch.inputs
            if random:
                shape = tuple(current.shape[1:])
                noise = LINF.uniform_in_ball(batch.ids, shape, seed=batch.seed, label=self.signature, step=run)
                current = (current + radius * noise).clamp(0, 1)
            for _ in range(self.steps):
                climbed = partial(_image_loss, loss, labels=batch.labels)
                answer = value_and_gradient(access.model, current, climbed, draws=access.draws)
                broken |= _is_broken(answer.logits, batch)
                moved = current + STEP * radius * answer.gradient.nan_to_num().sign()
                current = (batch.inputs + (moved - batch.inputs).clamp(-radius, radius)).clamp(0, 1)
            broken |= _is_broken(access.predict(current), batch)
        found: NDArray[np.bool_] = broken.cpu().numpy()
        return found

    def count_broken_by_black_box(self, batch: SampleBatch, access: ModelAccess) -> int:
        """Number of images that a random search over squares breaks.

        The search is that of the Square attack in Linf (Andriushchenko et al. 2020, algorithm 2), with its schedule of
        sides, and the mean margin of the right pixels as its loss.
        """
        ids, radius = batch.ids, float(self.eps)
        channels, height, width = batch.inputs.shape[1:]
        signs = partial(rng.signs, ids, seed=batch.seed)
        start = radius * signs((channels, 1, width), label=f"{self.signature}/stripes", step=0)
        current = (batch.inputs + start).clamp(0, 1)
        broken, best = torch.zeros_like(ids, dtype=torch.bool), torch.full_like(ids, -torch.inf, dtype=torch.float32)
        tried = current
        for query in range(self.queries):
            logits = access.predict(tried)
            losses = _image_loss(right_margin, logits, labels=batch.labels)
            broken |= _is_broken(logits, batch)
            better = losses > best
            current, best = torch.where(better.view(-1, 1, 1, 1), tried, current), torch.maximum(best, losses)
            if bool(broken.all()):
                break
            sign = signs((channels, 1, 1), label=f"{self.signature}/sign", step=query + 1)
            square = self._square(batch, query + 1, height=height, width=width)
            moved = current + torch.where(square, 2 * radius * sign, 0.0) - batch.inputs
            tried = (batch.inputs + moved.clamp(-radius, radius)).clamp(0, 1)
        return int(broken.sum())

    def _square(self, batch: SampleBatch, query: int, *, height: int, width: int) -> Tensor:
        """Square of each image that a query changes, bool (N, 1, H, W)."""
        halved = sum(query * 10_000 > mark * self.queries for mark in HALVINGS)
        side = max(1, min(height, width, round((SHARE * height * width / 2**halved) ** 0.5)))
        draw = rng.uniform(batch.ids, (2,), seed=batch.seed, label=f"{self.signature}/corner", step=query)
        corner = (draw * torch.tensor([height - side + 1, width - side + 1], device=draw.device)).long()
        rows = torch.arange(height, device=draw.device) - corner[:, :1]
        columns = torch.arange(width, device=draw.device) - corner[:, 1:]
        down, across = ((at >= 0) & (at < side) for at in (rows, columns))
        square: Tensor = (down[:, :, None] & across[:, None, :])[:, None]
        return square

    def loss_gradient(self, batch: SampleBatch, access: ModelAccess, loss: Loss) -> Tensor:
        """Gradient of the mean loss of each image's pixels with respect to the image, (N, C, H, W)."""
        return value_and_gradient(access.model, batch.inputs, partial(_image_loss, loss, labels=batch.labels)).gradient

    def differentiable(self, batch: SampleBatch, access: ModelAccess) -> tuple[nn.Module, Tensor]:
        """The model with the logits of all pixels in a row, and the images shrunk to the inside of the box [0, 1]."""
        return nn.Sequential(access.model, nn.Flatten()), inside_box(batch.inputs)


def _image_loss(loss: Loss, logits: Tensor, *, labels: Tensor) -> Tensor:
    """Mean loss of the counted pixels of each image, (B,), from logits (B, K, H, W) and labels (B, H, W)."""
    counted = labels != VOID
    pixels = loss(logits.movedim(1, -1).flatten(0, 2), labels.clamp(min=0).flatten()).view_as(labels)
    return (pixels * counted).flatten(1).sum(1) / counted.flatten(1).sum(1)


def _is_broken(logits: Tensor, batch: SampleBatch) -> Tensor:
    """Whether each image has a mean IoU below that of the task, bool (B,)."""
    if not isinstance(batch.shape, SegmentationShape):
        raise MeasurementError("the probe of segmentation needs labels of pixels")
    return image_ious(count_pixels(logits, batch.labels)) < float(batch.shape.least_iou)
