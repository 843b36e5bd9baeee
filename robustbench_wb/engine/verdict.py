"""Outcome of samples in the second pass; the second pass of segmentation models and of out-of-distribution images."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from robustbench_wb.models.segmentation_shape import SegmentationShape
from robustbench_wb.models.shape import Shape
from robustbench_wb.records.record import COUNTED
from robustbench_wb.stats.pixel_counts import image_iou
from robustbench_wb.stressors.model_access import ModelAccess
from robustbench_wb.stressors.out_of_distribution.out_of_distribution import OutOfDistribution
from robustbench_wb.stressors.pixel_outcomes import count_pixels, image_losses
from robustbench_wb.stressors.sample_batch import PerturbedBatch, SampleBatch
from robustbench_wb.stressors.stressor import Stressor
from robustbench_wb.stressors.text_attacks.kept_meaning import MeaningAttack

Outputs = Literal["", "calibration", "max_logits", "text_measures"]
"""Outputs of the model, or of those that judge texts, that a record keeps, by the name of the field in ``Record``: two
numbers per sample; empty: none."""


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
    optional: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)
    """Arrays that only some records keep, by the name of their field in ``robustbench_wb.records.record.Record``."""


def recorded_outputs(stressor: Stressor, shape: Shape | None, *, calibration: bool) -> Outputs:
    """Outputs of the model that the records of a stressor keep.

    Attacks keep no probabilities, because they do not try samples that are wrong when clean. Word attacks with a
    model that judges texts keep what it says.

    Args:
        stressor: the stressor of the records.
        shape: shape of the task; None if it is not known.
        calibration: whether the suite asks for calibration.
    """
    if isinstance(stressor, OutOfDistribution):
        return "max_logits"
    if isinstance(stressor, MeaningAttack) and stressor.is_judged:
        return "text_measures"
    labelled = shape is not None and not shape.causal and not isinstance(shape, SegmentationShape)
    return "calibration" if calibration and labelled and not stressor.adversarial() else ""


def calibration_outputs(logits: Tensor, labels: Tensor) -> NDArray[np.float32]:
    """Probability of the predicted class and Brier score of each sample, (N, 2), from logits (N, classes)."""
    chances = logits.softmax(1)
    scores = (chances - F.one_hot(labels, logits.shape[1])).square().sum(1)
    found: NDArray[np.float32] = torch.stack([chances.amax(1), scores], 1).cpu().numpy()
    return found


def with_measures(
    verdict: Verdict, batch: SampleBatch, perturbed: PerturbedBatch, *, stressor: Stressor, access: ModelAccess
) -> Verdict:
    """Verdict on texts with what models that judge texts say; unchanged for stressors without such models."""
    if not isinstance(stressor, MeaningAttack) or not stressor.is_judged:
        return verdict
    found = stressor.measures(batch.texts, perturbed.texts or (), access)
    return replace(verdict, optional={"text_measures": found})


def judge_out_of_distribution(batch: SampleBatch, perturbed: PerturbedBatch, access: ModelAccess) -> Verdict:
    """Compare the largest logit of each sample with that of its out-of-distribution image.

    A sample is correct if its own is larger. Its loss is the cross-entropy in nats of telling which of the two is the
    sample, log(1 + exp(-difference)).
    """
    own = access.predict(batch.inputs)
    other = access.predict(perturbed.inputs.flip(0)).flip(0)
    largest = torch.stack([own.amax(1), other.amax(1)], 1)
    return Verdict(
        correct=(largest[:, 0] > largest[:, 1]).cpu().numpy(),
        finite=(torch.isfinite(own).all(1) & torch.isfinite(other).all(1)).cpu().numpy(),
        losses=F.softplus(largest[:, 1] - largest[:, 0]).cpu().numpy(),
        wobble=0,
        passes=2,
        optional={"max_logits": largest.cpu().numpy()},
    )


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
        optional={"pixels": pixels},
    )
