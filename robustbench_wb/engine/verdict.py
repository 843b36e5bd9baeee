"""Outcome of samples in the second pass, and the second pass of segmentation models."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from robustbench_wb.models.segmentation_shape import SegmentationShape
from robustbench_wb.records.record import COUNTED
from robustbench_wb.stats.pixel_counts import image_iou
from robustbench_wb.stressors.model_access import ModelAccess
from robustbench_wb.stressors.pixel_outcomes import count_pixels, image_losses
from robustbench_wb.stressors.sample_batch import PerturbedBatch, SampleBatch


@dataclass(frozen=True, eq=False, kw_only=True)
class Verdict:
    """Outcome of some samples, (N,) each."""

    correct: NDArray[np.bool_]
    finite: NDArray[np.bool_]
    losses: NDArray[np.float32]
    wobble: int
    passes: int
    """Forward passes of the verdict per sample; those of a few samples that are asked again are not counted."""
    evidence: Mapping[str, float] = field(default_factory=dict)
    """Counts that add up over batches."""
    pixels: NDArray[np.int32] | None = None
    """Pixel counts in segmentation, see ``robustbench_wb.records.record.Record.pixels``."""


@torch.no_grad()
def judge_pixels(
    batch: SampleBatch, perturbed: PerturbedBatch, access: ModelAccess, *, shape: SegmentationShape
) -> Verdict:
    """Segment the perturbed images in float32, in another order than a search.

    An image is correct if its mean IoU is at least that of the task. Logits of a batch are too large to keep, so each
    batch is counted at once. Images whose logits are not finite have no counted pixels.
    """
    count = len(batch.ids)
    losses, finite = np.empty(count, np.float32), np.empty(count, np.bool_)
    pixels = np.empty((count, shape.classes, COUNTED), np.int32)
    images, labels = perturbed.inputs.flip(0), batch.labels.flip(0)
    for part in torch.split(torch.arange(count, device=images.device), access.batch_size):
        logits, rows = access.predict(images[part]), count - 1 - part.cpu().numpy()
        losses[rows] = image_losses(logits, labels[part]).cpu().numpy()
        finite[rows] = torch.isfinite(logits).flatten(1).all(1).cpu().numpy()
        pixels[rows] = count_pixels(logits, labels[part]).cpu().numpy()
    correct = image_iou(pixels) >= float(shape.least_iou)
    pixels[~finite] = 0
    first = ~correct if perturbed.broken is None else perturbed.broken
    if perturbed.failed is not None:
        # An image whose search failed may still be judged broken, but never robust.
        finite &= ~correct | ~perturbed.failed
    return Verdict(
        correct=correct,
        finite=finite,
        losses=losses,
        wobble=int(((first == correct) & finite).sum()),
        passes=1,
        pixels=pixels,
    )
